/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/access_log/format.h"
#include "agent/spec/kind.h"

/* Compiled only to see that it can be. App Mesh's API took any text, and its proxies then kept the configuration they had (user guide,
 * Envoy access logs); here whoever writes it learns what is wrong. */
int logging_check(const json_t *spec, struct error *err)
{
	const json_t *format = json_path(spec, "logging.accessLog.file.format");
	struct access_log_format *compiled;
	int r = format ? access_log_format_new(format, "spec.logging.accessLog.file.format", &compiled, err) : 0;

	if (format && r == 0)
		access_log_format_free(compiled);
	return r;
}
