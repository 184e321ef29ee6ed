/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SHIM_LINUX_MINMAX_H
#define SHIM_LINUX_MINMAX_H

/* Like the kernel's, min() refuses to compare two types. */
#define min(a, b)                                                                                  \
	({                                                                                         \
		_Static_assert(__builtin_types_compatible_p(typeof(a), typeof(b)), "two types");   \
		min_t(typeof(a), a, b);                                                            \
	})

#define min_t(type, a, b)                                                                          \
	({                                                                                         \
		type min_a = (a);                                                                  \
		type min_b = (b);                                                                  \
		min_a < min_b ? min_a : min_b;                                                     \
	})

#define max(a, b)                                                                                  \
	({                                                                                         \
		_Static_assert(__builtin_types_compatible_p(typeof(a), typeof(b)), "two types");   \
		typeof(a) max_a = (a), max_b = (b);                                                \
		max_a < max_b ? max_b : max_a;                                                     \
	})

#define min3(a, b, c)                                                                              \
	({                                                                                         \
		typeof(a) min3_ab = min(a, b);                                                     \
		min(min3_ab, c);                                                                   \
	})

#define swap(a, b)                                                                                 \
	do {                                                                                       \
		typeof(a) swap_a = (a);                                                            \
		(a) = (b);                                                                         \
		(b) = swap_a;                                                                      \
	} while (0)

#endif /* SHIM_LINUX_MINMAX_H */
