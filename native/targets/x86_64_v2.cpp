#define SOFTMAX_TARGET x86_64_v2
#define SOFTMAX_LEVEL 2
#define SOFTMAX_NAME "x86-64-v2"
#include "../targets.inl"
