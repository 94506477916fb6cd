/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iam/principal.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"

#define ID_PREFIX "AIDA" /* of users' ids at AWS */
#define BITS_EACH 5

static void make_user_id(const char *account, const char *user, char *to, size_t size)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	char name[sizeof(((struct iam_principal *)0)->account) + IAM_USER_BYTES];
	uint64_t hash[2];
	unsigned __int128 bits;

	snprintf(name, sizeof(name), "%s/%s", account, user);
	hash_name(name, strlen(name), hash);
	bits = (unsigned __int128)hash[0] << 64 | hash[1];
	strcpy(to, ID_PREFIX);
	for (size_t i = strlen(ID_PREFIX); i + 1 < size; i++, bits >>= BITS_EACH)
		to[i] = alphabet[bits % (sizeof(alphabet) - 1)];
	to[size - 1] = '\0';
}

void iam_principal_init(const struct iam_key *key, const char *account, struct iam_principal *ret_principal)
{
	struct iam_principal *p = ret_principal;

	*p = (struct iam_principal){ .type = "Root", .user = key ? key->user : "" };
	snprintf(p->account, sizeof(p->account), "%s", account);
	if (!p->user[0]) {
		snprintf(p->id, sizeof(p->id), "%s", p->account);
		snprintf(p->arn, sizeof(p->arn), "arn:aws:iam::%s:root", p->account);
		return;
	}
	p->type = "IAMUser";
	make_user_id(p->account, p->user, p->id, sizeof(p->id));
	snprintf(p->arn, sizeof(p->arn), "arn:aws:iam::%s:user/%s", p->account, p->user);
}
