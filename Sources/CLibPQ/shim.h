#include <libpq-fe.h>
// What its sockets are waited for with, which Swift's Glibc leaves out.
#include <sys/epoll.h>
#include <sys/eventfd.h>
