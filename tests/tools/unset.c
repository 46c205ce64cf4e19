/*
 * unset.c: reads what was never written, so that make check-msan and make check-valgrind show that they would find it:
 * "unset stack", "heap", "grown" (by realloc), "sent" (to a descriptor), "library" (through libevent and back); "unset
 * nothing" has no fault.  memcheck does not find "stack" in an ordinary build: the compiler sets it to zero there.
 */
#include <event2/buffer.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* the compiler cannot know that nothing is written */
static __attribute__((noinline)) void
leave(const char *what, char *p, size_t len)
{
	if (strcmp(what, "nothing") == 0)
		memset(p, 1, len);
}

static __attribute__((noinline)) int
judge(const char *p)
{
	return *(const volatile char *)p == 'x' ? puts("x") : puts("not x");
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "nothing";
	char stack[64], *heap = malloc(64), back[64];
	struct evbuffer *b = evbuffer_new();
	int is = strcmp(what, "nothing") == 0;

	if (heap == NULL || b == NULL)
		return 2;
	leave(what, stack, sizeof(stack));
	if (is || strcmp(what, "stack") == 0)
		(void)judge(stack + 5);
	leave(what, heap, 64);
	if (is || strcmp(what, "heap") == 0)
		(void)judge(heap + 5);
	if (is || strcmp(what, "library") == 0) {
		if (evbuffer_add(b, heap, 64) == -1 || evbuffer_remove(b, back, 64) != 64)
			return 2;
		(void)judge(back + 5);
	}
	if ((is || strcmp(what, "sent") == 0) && write(STDOUT_FILENO, heap, 64) != 64)
		return 2;
	memset(heap, 1, 64);
	heap = realloc(heap, 1 << 20);
	if (heap == NULL)
		return 2;
	leave(what, heap, 1 << 20);
	if (is || strcmp(what, "grown") == 0)
		(void)judge(heap + 5000);
	free(heap);
	evbuffer_free(b);
	return 0;
}
