/* A CUDA runtime without a GPU: memory is the host's, kernels do nothing. Enough for onnxruntime's CUDA provider to
   start, place nodes and accept or refuse a session; never enough to compute. Struct offsets: CUDA 13.
   The environment says what machine it is: STUB_DRIVER is the driver's version (13010), STUB_DEVICES its GPUs (1). */
#include <stdlib.h>
#include <string.h>
typedef int E; /* cudaError_t */
typedef void *S; /* streams, events, pools */
static int number(const char *name, int otherwise) { const char *v = getenv(name); return v ? atoi(v) : otherwise; }
static int driver(void) { return number("STUB_DRIVER", 13010); }
static int devices(void) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    return visible && !*visible ? 0 : number("STUB_DEVICES", 1);
}
static E status(void) { return driver() < 13000 ? 35 : devices() ? 0 : 100; } /* driver too old; no device */
E cudaMalloc(void **p, size_t n) { *p = aligned_alloc(256, (n + 511) / 256 * 256); return *p ? 0 : 2; }
E cudaMallocHost(void **p, size_t n) { return cudaMalloc(p, n); }
E cudaHostAlloc(void **p, size_t n, unsigned f) { return cudaMalloc(p, n); }
E cudaMallocFromPoolAsync(void **p, size_t n, S pool, S s) { return cudaMalloc(p, n); }
E cudaFree(void *p) { free(p); return 0; }
E cudaFreeHost(void *p) { free(p); return 0; }
E cudaFreeAsync(void *p, S s) { free(p); return 0; }
E cudaMemcpy(void *d, const void *s, size_t n, int k) { memcpy(d, s, n); return 0; }
E cudaMemcpyAsync(void *d, const void *s, size_t n, int k, S t) { memcpy(d, s, n); return 0; }
E cudaMemset(void *d, int v, size_t n) { memset(d, v, n); return 0; }
E cudaMemsetAsync(void *d, int v, size_t n, S t) { memset(d, v, n); return 0; }
E cudaMemGetInfo(size_t *a, size_t *b) { *a = 8ull << 30; *b = 16ull << 30; return 0; }
E cudaGetDeviceCount(int *n) { *n = status() ? 0 : devices(); return status(); }
E cudaGetDevice(int *n) { *n = 0; return 0; }
E cudaDriverGetVersion(int *n) { *n = driver(); return 0; }
E cudaRuntimeGetVersion(int *n) { *n = 13010; return 0; }
E cudaDeviceGetAttribute(int *v, int a, int d) {
    *v = a == 75 ? 9 : a == 76 ? 0 : a == 16 ? 132 : a == 1 ? 1024 : a == 10 ? 32 : 1; /* an H100's */
    return 0;
}
static E properties(char *p) {
    memset(p, 0, 1008); strcpy(p, "stub");
    *(size_t *)(p + 288) = 16ull << 30; *(size_t *)(p + 296) = 49152;
    *(int *)(p + 308) = 32; *(int *)(p + 320) = 1024;
    *(int *)(p + 336) = 2147483647; *(int *)(p + 340) = 65535; *(int *)(p + 344) = 65535;
    *(int *)(p + 360) = 9; *(int *)(p + 364) = 0; *(int *)(p + 384) = 132; *(int *)(p + 604) = 2048;
    return 0;
}
E cudaGetDeviceProperties(void *p, int d) { return properties(p); }
static E handle(S *s) { *s = (S)8; return 0; }
E cudaStreamCreate(S *s) { return handle(s); }
E cudaStreamCreateWithFlags(S *s, unsigned f) { return handle(s); }
E cudaEventCreate(S *s) { return handle(s); }
E cudaEventCreateWithFlags(S *s, unsigned f) { return handle(s); }
E cudaPointerGetAttributes(void *a, const void *p) { memset(a, 0, 88); *(int *)a = 2; return 0; }
E cudaFuncGetAttributes(void *a, const void *f) { memset(a, 0, 144); ((int *)a)[6] = 1024; return 0; }
E cudaStreamIsCapturing(S s, int *c) { *c = 0; return 0; }
const char *cudaGetErrorString(E e) { return "stub"; }
const char *cudaGetErrorName(E e) { return "stub"; }
static int fat;
void **__cudaRegisterFatBinary(void *p) { return (void **)&fat; }
E cublasCreate_v2(S *s) { return handle(s); }
E cublasLtCreate(S *s) { return handle(s); }
E curandCreateGenerator(S *s, int k) { return handle(s); }
E cuTensorMapEncodeTiled(void) { return 100; }
E cuInit(unsigned f) { return devices() ? 0 : 100; }
E cuDriverGetVersion(int *n) { *n = driver(); return 0; }
E cuDeviceGetCount(int *n) { *n = devices(); return 0; }
E stub_unavailable(void) { return 801; } /* cudaErrorNotSupported */
E cudaStreamBeginCapture(S s, int m) { return stub_unavailable(); }
E cudaLibraryLoadData(void) { return stub_unavailable(); }
E cudaGetDriverEntryPointByVersion(void) { return stub_unavailable(); }
E cudaGraphInstantiate(void) { return stub_unavailable(); }
E cudaMemPoolCreate(S *s, void *p) { return handle(s); }
E cudaGraphLaunch(void) { return stub_unavailable(); }
E cudaMemcpyFromSymbol(void) { return stub_unavailable(); }
E cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n) { *n = 1; return 0; }
E cudaEventElapsedTime(float *t) { *t = 0; return 0; }
E cudaMemPoolGetAttribute(S p, int a, void *v) { *(unsigned long long *)v = 0; return 0; }
E cudaLaunchKernel(void) { return 0; }
E cudaLaunchKernelExC(void) { return 0; }
E cudaLaunchCooperativeKernel(void) { return 0; }
E cudaFuncSetAttribute(void) { return 0; }
E cudaDeviceSynchronize(void) { return 0; }
E cudaGetLastError(void) { return 0; }
E cudaPeekAtLastError(void) { return 0; }
E cudaSetDevice(int d) { return d < devices() ? 0 : 101; }
E cudaStreamSynchronize(S s) { return 0; }
E cudaStreamDestroy(S s) { return 0; }
E cudaStreamWaitEvent(S s, S e, unsigned f) { return 0; }
E cudaEventRecord(S e, S s) { return 0; }
E cudaEventSynchronize(S e) { return 0; }
E cudaEventDestroy(S e) { return 0; }
E cudaEventQuery(S e) { return 0; }
E cudaLaunchHostFunc(S s, void (*f)(void *), void *d) { f(d); return 0; }
E cudaMemcpy2DAsync(char *d, size_t dp, const char *s, size_t sp, size_t w, size_t h, int k, S t) {
    for (size_t i = 0; i < h; i++) memcpy(d + i * dp, s + i * sp, w);
    return 0;
}
