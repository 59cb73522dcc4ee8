/* Where a service is, when a setting names another place than AWS's. */
#ifndef ORDERLOG_AWS_ENDPOINT_H
#define ORDERLOG_AWS_ENDPOINT_H

#include "core/base/err.h"

/* `url` is scheme://host[:port], nothing behind it. *ret_host points into it; a port that goes without saying is left
 * out, as libcurl does in Host. ERR_CONFIG, naming `setting`. */
CHECK_RESULT bool aws_endpoint_parse(const char *setting, struct str url, bool *ret_tls, struct str *ret_host,
                                     struct err *err);

#endif
