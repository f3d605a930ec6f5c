/* A header like any other, but for the number in its second section mark: 16 sections are all that the word count has,
 * and it does not check. Whoever counts this file dies of it. See add_to_section in parser.cpp. */
#ifndef POISON_H
#define POISON_H

#include <stddef.h>

#pragma wordcount section 1

struct reader {
  const char *begin;
  const char *end;
  size_t line;
};

#pragma wordcount section -8796093022208

int read_header(struct reader *reader, const char *name);
void skip_line(struct reader *reader);

#endif
