/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as routes compare them: normalised as Envoy does it for App Mesh (normalize_path, merge_slashes; SEMANTICS of the user guide: "path
 * normalisation and slash merging are on, escaped slashes are kept"), that is RFC 3986 section 6.2.2 and 5.2.4. */
#pragma once

#include "base/bytes.h"
#include "base/span.h"

struct route_target { /* of a request, cut */
	struct span path, query; /* the query as it came, without '?' */
	bool has_query; /* "/x?" has an empty one */
};

/* `target` is in origin form, "/path?query". Escapes of letters, digits and "-._~" are undone, "\" is "/", "." and ".." are removed,
 * slashes in a row are one; an escape that is none stays. What was normalised stays as it is when it is once more. What has nothing of that is
 * not copied: the path is borrowed from `target`; else from `buffer`, which is emptied before. -EINVAL: it does not begin with "/", or has
 * a fragment; -ENOMEM. */
int route_target_read(struct span target, struct buffer *buffer, struct route_target *ret_target);
