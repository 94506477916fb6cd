/* SPDX-License-Identifier: Apache-2.0 */
/* What is understood of a resolv.conf reads the same when it is printed and read again. */
#include <stdint.h>
#include <string.h>

#include "agent/dns/resolv_conf.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	_cleanup_(buffer_done) struct buffer text = {};
	struct resolv_conf conf, again;
	char ip[IP_TEXT_BYTES];

	nsswitch_has_resolve((const char *)bytes, size);
	resolv_conf_parse((const char *)bytes, size, &conf);
	if (conf.count > RESOLVERS_MAX || (conf.count == 0 && conf.left_out == 0))
		abort();
	for (size_t i = 0; i < conf.count; i++)
		buffer_printf(&text, "nameserver %s\n", ip_format(&conf.resolvers[i], ip));
	if (conf.count == 0) /* only link-local ones */
		return 0;
	resolv_conf_parse(text.data, text.length, &again);
	if (again.left_out != 0)
		abort();
	again.left_out = conf.left_out;
	if (memcmp(&again, &conf, sizeof(conf)) != 0)
		abort();
	return 0;
}
