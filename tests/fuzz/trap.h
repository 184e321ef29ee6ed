/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the fuzzers share: libFuzzer's entry, and how they say that something is wrong. */
#ifndef TESTS_FUZZ_TRAP_H
#define TESTS_FUZZ_TRAP_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void trap(const char *file, int line, const char *fact) __attribute__((noreturn));

#define trap_unless(fact) ((fact) ? (void)0 : trap(__FILE__, __LINE__, #fact))

/** trap_silent - a report that is only counted. @arg: unsigned int */
void trap_silent(void *arg, const char *text);

#endif /* TESTS_FUZZ_TRAP_H */
