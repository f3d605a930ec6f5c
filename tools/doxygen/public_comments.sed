# What the headers say in plain comments, as doxygen reads it: the head of a file, a line behind a declaration, and its
# continuation.
1i /// @file
1,/^#pragma once/s#^//( |$)#///\1#
s#([;,{}]|[a-z_]) +// #\1  ///< #
s#^( {20,})// #\1///< #
s#^(///.*)<([A-Za-z_:, ]+)>#\1\&lt;\2\&gt;#g
# A specialisation of a template of namespace std, which this doxygen has no scope for.
/^\/\/\/ So that futures can be keys/,$d
