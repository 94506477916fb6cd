/* SPDX-License-Identifier: Apache-2.0 */
/* What the current directory holds. The maps outlive agents and are writable by root, so every reference and range is
 * checked before it is followed: a record that makes no sense reads as NULL, absent, and is written anew. */
#pragma once

#include "agent/compile/encode.h"

uint32_t current_ref(const struct encoder *encoder, uint32_t id); /* 0: no such object */

const struct service_record *current_service(const struct encoder *encoder, uint32_t id);
const struct target_record *current_target(const struct encoder *encoder, uint32_t id);
const struct node_record *current_node(const struct encoder *encoder, uint32_t id);
const struct target_record *target_at(const struct encoder *encoder, uint32_t ref);
/* One backend of the node's record, which has them in order of service. */
const struct backend *current_backend(const struct encoder *encoder, uint32_t id, uint32_t service);
