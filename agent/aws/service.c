/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/aws/service.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

static const struct aws_service services[] = {
	{ "appmesh", false },
	{ "sts", true },
};

int aws_service_find(const struct aws_scope *scope, const struct aws_service **ret_service, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(services); i++)
		if (strcmp(services[i].name, scope->service) == 0) {
			*ret_service = &services[i];
			return 0;
		}
	return error_set_field(err, -EOPNOTSUPP, "service", "'%s' is not served here, appmesh and sts are", scope->service);
}
