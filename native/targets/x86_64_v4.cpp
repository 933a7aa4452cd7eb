#define SOFTMAX_TARGET x86_64_v4
#define SOFTMAX_LEVEL 4
#define SOFTMAX_NAME "x86-64-v4"
#include "../targets.inl"
