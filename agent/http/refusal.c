/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/http/refusal.h"

static const struct {
	const char *name;
	int status;
	const char *text;
} refusals[] = {
#define ROW(refusal, name, status, text) [refusal] = { name, status, text },
	HTTP_REFUSALS(ROW)
#undef ROW
};

const char *http_refusal_name(enum http_refusal refusal)
{
	return refusals[refusal].name;
}

int http_refusal_status(enum http_refusal refusal)
{
	return refusals[refusal].status;
}

const char *http_refusal_text(enum http_refusal refusal)
{
	return refusals[refusal].text;
}
