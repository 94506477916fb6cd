/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const char *ctl_command;

int ctl_fail(const struct error *err)
{
	char text[ERROR_MESSAGE_BYTES + ERROR_FIELD_BYTES];

	fflush(stdout);
	fprintf(stderr, "weft%s%s: %s\n", ctl_command ? " " : "", ctl_command ?: "", error_text(err, text, sizeof(text)));
	return err->code == -EINVAL ? EXIT_MISUSED : EXIT_FAILURE;
}

int ctl_printed(int r)
{
	struct error err = {};

	if (r == 0)
		return EXIT_SUCCESS;
	error_set(&err, r, "out of memory");
	return ctl_fail(&err);
}

int ctl_print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2));
	printf("\n");
	return EXIT_SUCCESS;
}
