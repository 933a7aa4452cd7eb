#define SOFTMAX_TARGET x86_64_v3
#define SOFTMAX_LEVEL 3
#define SOFTMAX_NAME "x86-64-v3"
#include "../targets.inl"
