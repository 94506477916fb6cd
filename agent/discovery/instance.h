/* SPDX-License-Identifier: Apache-2.0 */
/* One instance of the registry: checked, in one piece of memory with its texts, and as the state has it. Internal to agent/discovery. */
#pragma once

#include <stdbool.h>

#include "agent/discovery/registry.h"
#include "base/bytes.h"

/* Checks and copies, as registry_put() does, and fills in what attributes say. The caller frees it. -EINVAL, -ENOMEM. */
int instance_new(const struct instance *from, const json_t *attributes, struct instance **ret_instance, struct error *err);
/* Of two of one name. */
bool instance_equal(const struct instance *a, const struct instance *b);

/* What the state has for it, beside the names, which are its key. */
void instance_write(const struct instance *instance, const char *boot_id, struct buffer *value);
/* From that; of `names` nothing else counts. 1, and nothing: of a loopback address in a namespace of an earlier boot. The kernel counts
 * cookies from the start again, so that it might be offered to a stranger's namespace. -EINVAL, -ENOMEM. */
int instance_read(const struct instance *names, const void *value, size_t bytes, const char *boot_id, struct instance **ret_instance,
		  struct error *err);
