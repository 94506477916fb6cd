/* SPDX-License-Identifier: Apache-2.0 */
/* A file layer for SQLite under which the death of the process is a power loss: what was written is kept in memory until it is
 * synced, but for about half of it, drawn at random, which reaches the file at once. */
#pragma once

/* For this process, from here on. Only for databases in exclusive locking mode. */
void power_vfs_install(unsigned int seed);
