/* SPDX-License-Identifier: Apache-2.0 */
/* What others use of `weft get`. */
#pragma once

/* "virtual-nodes" -> "virtualNode": kinds in any case, with hyphens, and in the plural. NULL: no kind. */
const char *get_kind(const char *word);
