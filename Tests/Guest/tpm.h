/* The witness of the guest's TPM (tpm.c). Codes are the TPM's response codes, 0 success, -1 no answer. */
#ifndef GODWIT_TPM_H
#define GODWIT_TPM_H

#include <stdint.h>

/* Opens the TPM. `found`: the number that an earlier boot left, 0 in a new TPM. */
int64_t tpm_begin(const uint8_t boot[16], uint64_t *found);

/* One look and one write. `reached`: the number that is durably in the TPM now; `wrong`: how many of the two were not as they were left. */
int64_t tpm_turn(uint64_t *reached, int *wrong);

#endif
