/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/l7/reply.h"

#define X(symbol, name, status, flag, details, body, text) [L7_##symbol] = { name, status, ACCESS_LOG_##flag, details, SPAN(body), text },
const struct l7_reply_row l7_replies[L7_REPLY_COUNT] = { L7_REPLIES(X) };
#undef X
