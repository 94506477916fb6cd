/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/api/appmesh/appmesh.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/api/appmesh/call.h"
#include "base/cleanup.h"

static const struct appmesh_error errors[] = {
	{ -EINVAL, "BadRequestException", 400 },
	{ -ENOSPC, "LimitExceededException", 400 },
	{ -EOVERFLOW, "TooManyTagsException", 400 },
	{ -EPERM, "ForbiddenException", 403 },
	{ -EROFS, "ForbiddenException", 403 }, /* and not one that clients try again */
	{ -ENOENT, "NotFoundException", 404 },
	{ -ENOSYS, "UnknownOperationException", 404 },
	{ -EEXIST, "ConflictException", 409 },
	{ -EBUSY, "ResourceInUseException", 409 },
	{ -EAGAIN, "TooManyRequestsException", 429 },
	{ -ESHUTDOWN, "ServiceUnavailableException", 503 },
	{ 0, "InternalServerErrorException", 500 },
};

const struct appmesh_error *appmesh_error_find(int code)
{
	const struct appmesh_error *error = errors;

	while (error->code && error->code != code)
		error++;
	return error;
}

void appmesh_settings_init(struct appmesh_settings *settings, const char *account)
{
	*settings = (struct appmesh_settings){ .account = account };
	for (size_t i = 0; i < APPMESH_QUOTA_COUNT; i++)
		settings->quotas[i] = appmesh_quotas[i].usual;
}

void appmesh_uid(const uint8_t random[16], char ret_uid[APPMESH_UID_BYTES])
{
	snprintf(ret_uid, APPMESH_UID_BYTES, "%02x%02x%02x%02x-%02x%02x-4%01x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", random[0], random[1],
		 random[2], random[3], random[4], random[5], random[6] & 0x0f, random[7], (random[8] & 0x3f) | 0x80, random[9], random[10],
		 random[11], random[12], random[13], random[14], random[15]);
}

char *appmesh_text(const json_t *body)
{
	/* thirteen digits are a time of this century to the millisecond; nothing else is no integer */
	return json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(13));
}

void appmesh_answer_done(struct appmesh_answer *answer)
{
	appmesh_change_done(&answer->change);
	json_decref(answer->body);
	json_decref(answer->input);
	*answer = (struct appmesh_answer){};
}

void appmesh_answer_error(struct appmesh_answer *answer, const struct error *err)
{
	const struct appmesh_error *error = appmesh_error_find(err->code);
	char text[ERROR_FIELD_BYTES + ERROR_MESSAGE_BYTES];

	appmesh_change_done(&answer->change);
	json_decref(answer->body);
	answer->status = error->status;
	answer->error = error->name;
	answer->body = json_pack("{s:s, s:s}", "__type", error->name, "message", error_text(err, text, sizeof(text)));
}

static bool is_write(enum operation_verb verb)
{
	return verb != OPERATION_DESCRIBE && verb != OPERATION_LIST && verb != OPERATION_LIST_TAGS;
}

static int handle(struct appmesh_call *call, struct error *err)
{
	static int (*const verbs[])(struct appmesh_call *call, struct error *err) = {
		[OPERATION_CREATE] = appmesh_create,	 [OPERATION_DESCRIBE] = appmesh_describe, [OPERATION_UPDATE] = appmesh_update,
		[OPERATION_DELETE] = appmesh_delete,	 [OPERATION_LIST] = appmesh_list,	  [OPERATION_TAG] = appmesh_tag,
		[OPERATION_UNTAG] = appmesh_untag, [OPERATION_LIST_TAGS] = appmesh_list_tags,
	};
	int r = appmesh_read_request(call, err);

	if (r < 0)
		return r;
	if (call->request->identity && call->operation->verb != OPERATION_CREATE)
		return error_set(err, -EINVAL, "%s has no identity to take over: that is for what is created", call->operation->name);
	if (is_write(call->operation->verb) && call->settings->read_only)
		return error_set(err, -EROFS, "%s", call->settings->read_only);
	return verbs[call->operation->verb](call, err);
}

void appmesh_handle(const struct appmesh_state *state, const struct appmesh_settings *settings, const struct appmesh_request *request,
		    struct appmesh_answer *ret_answer)
{
	struct appmesh_call call = {
		.state = state,
		.settings = settings,
		.request = request,
		.scope = { settings->account, request->region },
		.answer = ret_answer,
	};
	struct error err = {};

	*ret_answer = (struct appmesh_answer){ .status = 200 };
	if (handle(&call, &err) < 0)
		appmesh_answer_error(ret_answer, &err);
}
