/* SPDX-License-Identifier: Apache-2.0 */
/* YAML as CloudFormation templates are written in it, by libyaml: mappings, sequences and scalars, with the short forms of functions
 * (!Ref X is {"Ref": "X"}, !GetAtt A.B is {"Fn::GetAtt": ["A", "B"]}, !Sub T is {"Fn::Sub": "T"}). Scalars are text, whatever they look
 * like, but for null: CloudFormation takes "8080" for a number where one is asked for, and an account's leading zeros stay. As there,
 * no aliases and no merging. */
#pragma once

#include "base/json.h"

#define YAML_DEPTH 100

/* The first document of the stream. `ret_places`: {"Resources.Node.Type": [line, column]} for every member and element. `ret_more`: there
 * are further documents. -EINVAL with the place; -ENOMEM. */
int yaml_parse(const char *text, size_t length, json_t **ret_value, json_t **ret_places, bool *ret_more, struct json_place *ret_place,
	       struct error *err);
