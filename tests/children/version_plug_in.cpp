// Versions of one plug-in: VALUE tells them apart.
extern "C" int answer();
extern "C" int answer() { return VALUE; }
