/* SPDX-License-Identifier: Apache-2.0 */
/* What `dns` discovery knows, on the local socket. */
#include "agent/api/api.h"

void api_discovery(struct agent *agent, struct http_exchange *exchange)
{
	http_reply_json(exchange, 200, json_pack("{s:o}", "names", dns_discovery_json(agent->dns)));
}
