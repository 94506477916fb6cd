/* SPDX-License-Identifier: Apache-2.0 */
/* What libc keeps of memory that was freed. It keeps what lies below something that is in use, and in a heap for each thread: after something
 * large that is megabytes, for good. */
#pragma once

/* For main(), before there is much: little stays of what is large. */
void memory_settle(void);

/* Gives back what is free, of all heaps. It takes milliseconds, in which nobody allocates in the heap that it is at: for where something large has
 * just ended, and not for what happens often. Any thread. */
void memory_give_back(void);
