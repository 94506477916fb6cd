/* SPDX-License-Identifier: Apache-2.0 */
/* An environment, and the name that is in it: what is found is found again where it stands alone. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/identity/claim.h"
#include "agent/spec/resource.h"
#include "base/bytes.h"
#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	_cleanup_(buffer_done) struct buffer text = {};
	char value[CLAIM_VALUE_BYTES], again[CLAIM_VALUE_BYTES], node[1024];
	const char *variable, *variable_again;
	struct resource_scope scope;

	if (!claim_in_environment((const char *)bytes, size, value, &variable))
		return 0;
	if (!value[0] || strlen(value) >= sizeof(value))
		abort();
	resource_name_scope(value, &scope);
	if (resource_name_parse(value, RESOURCE_VIRTUAL_NODE, node, sizeof(node), NULL) == 0 && strncmp(node, "mesh/", 5))
		abort();
	buffer_printf(&text, "%s=%s", variable, value);
	if (!claim_in_environment(text.data, text.length + 1, again, &variable_again) || strcmp(again, value) ||
	    strcmp(variable_again, variable))
		abort();
	return 0;
}
