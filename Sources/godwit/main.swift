import Glibc

exit(await Godwit.run(Array(CommandLine.arguments.dropFirst())))
