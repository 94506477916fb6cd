/* SPDX-License-Identifier: Apache-2.0 */
/* What a service tells the service manager that started it: sd_notify(3), without its library. */
#pragma once

/* "READY=1", "MAINPID=1234\nREADY=1". Nothing happens where nobody wants to know (NOTIFY_SOCKET); what fails is logged. */
void notify_manager(const char *state);
