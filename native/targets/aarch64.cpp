#define SOFTMAX_TARGET aarch64
#define SOFTMAX_LEVEL 0
#define SOFTMAX_NAME "aarch64"
#include "../targets.inl"
