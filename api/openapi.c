#include "api/answer.h"
#include "api/routes.h"

/* The description goes into the program as it is, so that what is served is what was shipped. */
__asm__(".pushsection .rodata, \"a\", @progbits\n"
        ".global orderlog_openapi_begin\n"
        ".global orderlog_openapi_end\n"
        "orderlog_openapi_begin:\n"
        ".incbin \"" ORDERLOG_OPENAPI_PATH "\"\n"
        "orderlog_openapi_end:\n"
        ".popsection\n");

extern const char orderlog_openapi_begin[], orderlog_openapi_end[];

void openapi_get(struct request *request) {
    answer_static(request, 200, "application/yaml", orderlog_openapi_begin,
                  (size_t)(orderlog_openapi_end - orderlog_openapi_begin));
}
