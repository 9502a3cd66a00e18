// What the static binary leaves out of the libraries it is linked with; the Makefile wraps these symbols
// (ld --wrap). Unwrapped, as in tests, nothing here is called.
#include <stdint.h>

/// The names of all Unicode scalars are 550 KB, kept by Unicode.Scalar.Properties.name, which nothing asks for.
/// 0: the scalar has no name.
intptr_t __wrap__swift_stdlib_getScalarName(uint32_t scalar, uint8_t *buffer, intptr_t capacity) {
    (void)scalar, (void)buffer, (void)capacity;
    return 0;
}
