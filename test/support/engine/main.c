/*
 * The engine as a command, for tests and benchmarks.
 *
 *     xs-engine [--heap BYTES] [--stack BYTES] [--meter COMPUTRONS] [--preload FILE]… [--input FILE] [--report] SCRIPT
 *     xs-engine [--preload FILE]… --batch
 *
 * The first form runs one script: what it prints goes to stdout, why it failed to stderr, and the exit code tells how it
 * ended (enum engine_end). --report adds one line of JSON to stderr.
 *
 * The second form reads runs from stdin until its end, each a line "HEAP STACK METER SCRIPT-BYTES INPUT-BYTES" followed
 * by so many bytes of script and of input (-1: no input), and answers each with one line of JSON on stdout. The exit code is 0 whatever
 * the ends of the runs.
 *
 * A run that writes to the shared machine's memory, as XS does in few places, is ended by a signal; a device would reset.
 *
 * Where pointers have 64 bits, a slot takes twice the memory of a device: limits are doubled and sizes reported as null.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "engine.h"

enum { SCALE = sizeof(void*) / 4, MAX_TEXT = 64 * 1024 * 1024 };

struct text {
	char* bytes;
	size_t length, capacity;
};

static void fail(const char* format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fputs("xs-engine: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(ENGINE_USAGE);
}

static void append(struct text* text, const char* bytes, size_t length)
{
	if (text->capacity - text->length <= length) {
		size_t capacity = 2 * (text->capacity + length) + 256;
		char* grown = capacity <= MAX_TEXT ? realloc(text->bytes, capacity) : NULL;
		if (!grown)
			fail("more than %d bytes of text", MAX_TEXT);
		text->bytes = grown;
		text->capacity = capacity;
	}
	memcpy(text->bytes + text->length, bytes, length);
	text->length += length;
	text->bytes[text->length] = 0;
}

/* NUL-terminated, to be freed; exactly `length` bytes, or all there are for -1. */
static char* read_stream(FILE* stream, const char* name, long length)
{
	struct text text = { NULL, 0, 0 };
	char buffer[4096];
	append(&text, "", 0);
	while (length) {
		size_t wanted = (length < 0) || ((size_t)length > sizeof buffer) ? sizeof buffer : (size_t)length;
		size_t got = fread(buffer, 1, wanted, stream);
		append(&text, buffer, got);
		if (length > 0)
			length -= (long)got;
		if (got < wanted)
			break;
	}
	if (ferror(stream))
		fail("cannot read %s: %s", name, strerror(errno));
	if (length > 0)
		fail("%s ends too early", name);
	return text.bytes;
}

static char* read_file(const char* path)
{
	FILE* file = fopen(path, "rb");
	char* bytes;
	if (!file)
		fail("cannot read %s: %s", path, strerror(errno));
	bytes = read_stream(file, path, -1);
	fclose(file);
	return bytes;
}

/* ---- JSON ---- */

/*
 * XS keeps strings in UTF-8 of its own kind: NUL is C0 80, and a surrogate that stands alone is a character of three
 * bytes. Escaped by UTF-16 unit, all of that passes through JSON unharmed.
 */
static void print_json_string(FILE* stream, const char* text)
{
	const unsigned char* p = (const unsigned char*)text;
	putc('"', stream);
	while (*p) {
		unsigned long c = *p++;
		int more = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
		if (more)
			c &= 0x3FU >> more;
		while (more-- && ((*p & 0xC0) == 0x80))
			c = (c << 6) | (*p++ & 0x3F);
		if (c >= 0x10000)
			fprintf(stream, "\\u%04lx\\u%04lx", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + (c & 0x3FF));
		else if ((c < 0x20) || (c > 0x7E) || (c == '"') || (c == '\\'))
			fprintf(stream, "\\u%04lx", c);
		else
			putc((int)c, stream);
	}
	putc('"', stream);
}

static void print_json_memory(FILE* stream, const char* name, const struct engine_memory* memory)
{
	fprintf(stream, ",\"%s\":", name);
	if (SCALE == 1)
		fprintf(stream, "{\"peak\":%zu,\"live\":%zu,\"garbage\":%zu}", memory->peak, memory->live, memory->garbage);
	else
		fputs("null", stream);
}

static void print_json_size(FILE* stream, const char* name, size_t size)
{
	if (SCALE == 1)
		fprintf(stream, ",\"%s\":%zu", name, size);
	else
		fprintf(stream, ",\"%s\":null", name);
}

static void print_json_report(FILE* stream, const struct engine_report* report, const char* output)
{
	int i;
	fprintf(stream, "{\"end\":\"%s\",\"exitCode\":%d,\"message\":", engine_end_name(report->end), report->end);
	print_json_string(stream, report->message);
	if (output) {
		fputs(",\"output\":", stream);
		print_json_string(stream, output);
	}
	fprintf(stream, ",\"bits\":%d,\"computrons\":%lu", 32 * SCALE, (unsigned long)report->computrons);
	print_json_size(stream, "heapReserved", report->heap_reserved);
	print_json_size(stream, "stackPeak", report->stack_peak);
	print_json_memory(stream, "chunks", &report->chunks);
	print_json_memory(stream, "slots", &report->slots);
	fprintf(stream, ",\"aliases\":%zu,\"marks\":[", report->aliases);
	for (i = 0; i < report->mark_count; i++) {
		const struct engine_mark* mark = &report->marks[i];
		fprintf(stream, "%s{\"name\":", i ? "," : "");
		print_json_string(stream, mark->name);
		fprintf(stream, ",\"computrons\":%lu", (unsigned long)mark->computrons);
		print_json_memory(stream, "chunks", &mark->chunks);
		print_json_memory(stream, "slots", &mark->slots);
		putc('}', stream);
	}
	fputs("]}\n", stream);
	fflush(stream);
}

/* ---- Runs ---- */

static void print_line(void* sink, const char* text)
{
	fprintf(sink, "%s\n", text);
}

static void append_line(void* sink, const char* text)
{
	append(sink, text, strlen(text));
	append(sink, "\n", 1);
}

static enum engine_end run_one(struct sxMachine* flash, const struct engine_limits* limits, const char* path,
	const char* inputPath, int wantsReport)
{
	static struct engine_report report = { .print = print_line };
	char* source = read_file(path);
	char* input = inputPath ? read_file(inputPath) : NULL;
	report.sink = stdout;
	engine_run(flash, limits, source, input, &report);
	fflush(stdout);
	if (wantsReport)
		print_json_report(stderr, &report, NULL);
	else if (report.end != ENGINE_OK)
		fprintf(stderr, "xs-engine: %s%s%s\n", engine_end_name(report.end), *report.message ? ": " : "", report.message);
	free(source);
	free(input);
	return report.end;
}

static void run_batch(struct sxMachine* flash)
{
	static struct engine_report report = { .print = append_line };
	struct text output = { NULL, 0, 0 };
	char line[128];
	report.sink = &output;
	while (fgets(line, sizeof line, stdin)) {
		struct engine_limits limits;
		unsigned long meter;
		long scriptBytes, inputBytes;
		char *source, *input;
		if (sscanf(line, "%zu %zu %lu %ld %ld", &limits.heap_bytes, &limits.stack_bytes, &meter, &scriptBytes, &inputBytes) != 5
				|| scriptBytes < 0 || inputBytes < -1)
			fail("not a run: %s", line);
		limits.heap_bytes *= SCALE;
		limits.stack_bytes *= SCALE;
		limits.meter = (uint32_t)meter;
		source = read_stream(stdin, "the script", scriptBytes);
		input = inputBytes < 0 ? NULL : read_stream(stdin, "the input", inputBytes);
		output.length = 0;
		append(&output, "", 0);
		engine_run(flash, &limits, source, input, &report);
		print_json_report(stdout, &report, output.bytes);
		free(source);
		free(input);
	}
	free(output.bytes);
}

static void preload(struct sxMachine* flash, const char* path)
{
	static struct engine_report report = { .print = print_line };
	char* source = read_file(path);
	report.sink = stderr;
	engine_preload(flash, source, &report);
	if (report.end != ENGINE_OK) {
		fprintf(stderr, "xs-engine: %s: %s: %s\n", path, engine_end_name(report.end), report.message);
		exit(report.end);
	}
	free(source);
}

static unsigned long number(const char* name, const char* text, unsigned long least, unsigned long most)
{
	char* end = NULL;
	unsigned long value = text ? strtoul(text, &end, 10) : 0;
	if (!text || !*text || *end || (value < least) || (value > most))
		fail("%s needs a number from %lu to %lu", name, least, most);
	return value;
}

int main(int argc, char* argv[])
{
	struct engine_limits limits = { .heap_bytes = 65536 * SCALE, .stack_bytes = 8192 * SCALE, .meter = 2000000000 };
	struct sxMachine* flash = engine_create();
	const char *script = NULL, *input = NULL;
	int wantsReport = 0, batch = 0, i;
	enum engine_end end = ENGINE_OK;
	if (!flash)
		fail("no memory");
	for (i = 1; i < argc; i++) {
		const char* argument = argv[i];
		const char* value = i + 1 < argc ? argv[i + 1] : NULL;
		if (!strcmp(argument, "--report"))
			wantsReport = 1;
		else if (!strcmp(argument, "--batch"))
			batch = 1;
		else if (!strncmp(argument, "--", 2)) {
			i++;
			if (!strcmp(argument, "--heap"))
				limits.heap_bytes = number(argument, value, 256, 1 << 28) * SCALE;
			else if (!strcmp(argument, "--stack"))
				limits.stack_bytes = number(argument, value, 2048, 1 << 28) * SCALE;
			else if (!strcmp(argument, "--meter"))
				limits.meter = (uint32_t)number(argument, value, 1, 2000000000);
			else if (!value)
				fail("unknown option, or one without its value: %s", argument);
			else if (!strcmp(argument, "--preload"))
				preload(flash, value);
			else if (!strcmp(argument, "--input"))
				input = value;
			else
				fail("unknown option: %s", argument);
		}
		else if (!script)
			script = argument;
		else
			fail("more than one script: %s", argument);
	}
	if (!script == !batch)
		fail("either a script or --batch is needed");
	engine_share(flash);
	if (batch)
		run_batch(flash);
	else
		end = run_one(flash, &limits, script, input, wantsReport);
	engine_delete(flash);
	return end;
}
