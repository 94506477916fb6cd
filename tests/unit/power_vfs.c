/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/power_vfs.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 512 /* what a disk writes whole */

struct power_file {
	sqlite3_file base;
	char *image; /* the file as its writers see it */
	bool *dirty; /* by chunk */
	sqlite3_int64 size, capacity;
	sqlite3_file *real; /* follows this struct */
};

static sqlite3_vfs *below, power;
static unsigned int seed;

static struct power_file *of(sqlite3_file *file)
{
	return (struct power_file *)file;
}

static void grow(struct power_file *f, sqlite3_int64 size)
{
	sqlite3_int64 capacity = f->capacity ? f->capacity : 1 << 16;

	while (capacity < size)
		capacity *= 2;
	if (capacity != f->capacity) {
		f->image = realloc(f->image, (size_t)capacity);
		f->dirty = realloc(f->dirty, (size_t)(capacity / CHUNK));
		if (!f->image || !f->dirty)
			abort();
		memset(f->image + f->capacity, 0, (size_t)(capacity - f->capacity));
		memset(f->dirty + f->capacity / CHUNK, 0, (size_t)((capacity - f->capacity) / CHUNK));
		f->capacity = capacity;
	}
	if (size > f->size)
		f->size = size;
}

static int write_chunk(struct power_file *f, sqlite3_int64 chunk)
{
	sqlite3_int64 at = chunk * CHUNK, bytes = f->size - at < CHUNK ? f->size - at : CHUNK;

	f->dirty[chunk] = false;
	return bytes > 0 ? f->real->pMethods->xWrite(f->real, f->image + at, (int)bytes, at) : SQLITE_OK;
}

static int power_close(sqlite3_file *file)
{
	struct power_file *f = of(file);

	free(f->image);
	free(f->dirty);
	return f->real->pMethods->xClose(f->real);
}

static int power_read(sqlite3_file *file, void *data, int bytes, sqlite3_int64 at)
{
	struct power_file *f = of(file);
	int there = at >= f->size ? 0 : f->size - at < bytes ? (int)(f->size - at) : bytes;

	if (there)
		memcpy(data, f->image + at, (size_t)there);
	if (there == bytes)
		return SQLITE_OK;
	memset((char *)data + there, 0, (size_t)(bytes - there));
	return SQLITE_IOERR_SHORT_READ;
}

static int power_write(sqlite3_file *file, const void *data, int bytes, sqlite3_int64 at)
{
	struct power_file *f = of(file);

	grow(f, at + bytes);
	memcpy(f->image + at, data, (size_t)bytes);
	for (sqlite3_int64 chunk = at / CHUNK; chunk * CHUNK < at + bytes; chunk++) {
		f->dirty[chunk] = true;
		if (rand_r(&seed) % 2 && write_chunk(f, chunk) != SQLITE_OK)
			return SQLITE_IOERR_WRITE;
	}
	return SQLITE_OK;
}

static int power_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct power_file *f = of(file);

	if (size < f->size)
		memset(f->image + size, 0, (size_t)(f->size - size));
	f->size = size;
	return SQLITE_OK;
}

static int power_sync(sqlite3_file *file, int flags)
{
	struct power_file *f = of(file);

	(void)flags; /* the kernel lives, so it need not go to a disk */
	for (sqlite3_int64 chunk = 0; chunk < f->capacity / CHUNK; chunk++)
		if (f->dirty[chunk] && write_chunk(f, chunk) != SQLITE_OK)
			return SQLITE_IOERR_FSYNC;
	return f->real->pMethods->xTruncate(f->real, f->size);
}

static int power_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
	*ret_size = of(file)->size;
	return SQLITE_OK;
}

static int power_lock(sqlite3_file *file, int level)
{
	return of(file)->real->pMethods->xLock(of(file)->real, level);
}

static int power_unlock(sqlite3_file *file, int level)
{
	return of(file)->real->pMethods->xUnlock(of(file)->real, level);
}

static int power_check_lock(sqlite3_file *file, int *ret_locked)
{
	return of(file)->real->pMethods->xCheckReservedLock(of(file)->real, ret_locked);
}

static int power_control(sqlite3_file *file, int op, void *arg)
{
	(void)file;
	(void)op;
	(void)arg;
	return SQLITE_NOTFOUND;
}

static int power_sector(sqlite3_file *file)
{
	(void)file;
	return CHUNK;
}

static int power_traits(sqlite3_file *file)
{
	(void)file;
	return 0;
}

static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = power_close,
	.xRead = power_read,
	.xWrite = power_write,
	.xTruncate = power_truncate,
	.xSync = power_sync,
	.xFileSize = power_size,
	.xLock = power_lock,
	.xUnlock = power_unlock,
	.xCheckReservedLock = power_check_lock,
	.xFileControl = power_control,
	.xSectorSize = power_sector,
	.xDeviceCharacteristics = power_traits,
};

static int power_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
	struct power_file *f = of(file);
	sqlite3_int64 size;
	int result;

	(void)vfs;
	*f = (struct power_file){ .real = (sqlite3_file *)(f + 1) };
	result = below->xOpen(below, name, f->real, flags, ret_flags);
	if (result != SQLITE_OK)
		return result;
	f->base.pMethods = &methods;
	result = f->real->pMethods->xFileSize(f->real, &size);
	grow(f, size);
	if (result == SQLITE_OK && size)
		result = f->real->pMethods->xRead(f->real, f->image, (int)size, 0);
	return result;
}

void power_vfs_install(unsigned int from)
{
	seed = from;
	below = sqlite3_vfs_find(NULL);
	power = *below;
	power.iVersion = 1;
	power.szOsFile = (int)sizeof(struct power_file) + below->szOsFile;
	power.zName = "power";
	power.pNext = NULL;
	power.xOpen = power_open;
	sqlite3_vfs_register(&power, /* makeDflt= */ 1);
}
