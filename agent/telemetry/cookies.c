/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/telemetry/cookies.h"

#include <errno.h>
#include <stdlib.h>

#define CAPACITY_MIN 256

/* Where the cookie is, or would be. Cookies are counted up: the product with an odd number spreads them. */
static uint64_t *place_of(const struct cookies *cookies, uint64_t cookie)
{
	size_t at = cookie * 0x9e3779b97f4a7c15ull >> 20 & (cookies->capacity - 1);

	while (cookies->places[at] && cookies->places[at] != cookie)
		at = (at + 1) & (cookies->capacity - 1);
	return &cookies->places[at];
}

static int grow(struct cookies *cookies)
{
	struct cookies grown = { .count = cookies->count, .capacity = cookies->capacity ? cookies->capacity * 2 : CAPACITY_MIN };

	grown.places = calloc(grown.capacity, sizeof(*grown.places));
	if (!grown.places)
		return -ENOMEM;
	for (size_t i = 0; i < cookies->capacity; i++)
		if (cookies->places[i])
			*place_of(&grown, cookies->places[i]) = cookies->places[i];
	free(cookies->places);
	*cookies = grown;
	return 0;
}

int cookies_add(struct cookies *cookies, uint64_t cookie)
{
	uint64_t *place;

	if (cookies->count * 2 >= cookies->capacity && grow(cookies) < 0)
		return -ENOMEM;
	place = place_of(cookies, cookie);
	if (*place)
		return 0;
	*place = cookie;
	cookies->count++;
	return 1;
}

void cookies_done(struct cookies *cookies)
{
	free(cookies->places);
	*cookies = (struct cookies){};
}
