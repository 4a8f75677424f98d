// Convolution of one layer over pairs of atoms: gather, radial weights, tensor product and scatter in one pass.
//
//   S(x, Y, h, W, g) = sum over messages (source s -> target t) of a pair e, paths p, channels u of
//       sign_p (h W)[e, p, u]  sum_ik M[e, p, i, k]  x[s, i, u]  g[t, row(p, k), u],      M = sum_j C[p, i, j, k] Y[e, j]
//
// is linear in each of its five arguments, so all derivatives follow from it:
//   forward   dS/dg
//   backward  dS/dx, dS/dY, dS/dh, dS/dW
//   second    the gradients of  <ax, dS/dx> + <aY, dS/dY> + <ah, dS/dh>
// A pair has one distance, so h W is made once and used for both messages; sign_p = (-1)^(degree of the harmonic) turns
// the direction around. h W lives only in a block of pairs that fits the cache. Channels are the vector lanes.
// Each thread has a fixed range of pairs and its own window of node rows, summed at the end in order: results do
// not depend on timing.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <omp.h>
#include <type_traits>

namespace {

typedef float FloatLanes __attribute__((vector_size(64)));
typedef float FloatMemory __attribute__((vector_size(64), aligned(4), may_alias));
typedef double DoubleLanes __attribute__((vector_size(64)));
typedef double DoubleMemory __attribute__((vector_size(64), aligned(8), may_alias));
template <class T> struct Wide;
template <> struct Wide<float> { typedef FloatLanes Lanes; typedef FloatMemory Memory; };
template <> struct Wide<double> { typedef DoubleLanes Lanes; typedef DoubleMemory Memory; };
template <class T> using Lanes = typename Wide<T>::Lanes;
template <class T> constexpr int LANES = 64 / sizeof(T);
constexpr int BLOCK = 32;    // pairs whose weights are held at once
constexpr int MAX_THREADS = 256;

template <class T> inline Lanes<T> load(const T *p) {
    return *reinterpret_cast<const typename Wide<T>::Memory *>(p);
}
template <class T> inline void store(T *p, Lanes<T> v) {
    *reinterpret_cast<typename Wide<T>::Memory *>(p) = v;
}
template <class T> inline void add(T *p, Lanes<T> v) { store(p, Lanes<T>(load(p) + v)); }

template <class T> T *allocate(long count) {
    void *p = nullptr;
    if (posix_memalign(&p, 64, sizeof(T) * std::max(count, 1L) + 64)) std::abort();
    return static_cast<T *>(p);
}

// C (+)= A B; element (m, k) of A at A[m * row + k * step]; B and C have contiguous rows of a multiple of LANES.
template <class T, int MR, int NR>
inline void tile(const T *A, long row, long step, const T *B, long ldb, T *C, long ldc, int K, bool accumulate) {
    Lanes<T> c[MR][NR];
#pragma GCC unroll 16
    for (int m = 0; m < MR; m++)
#pragma GCC unroll 4
        for (int n = 0; n < NR; n++) c[m][n] = accumulate ? load(C + m * ldc + n * LANES<T>) : Lanes<T>{};
    for (int k = 0; k < K; k++) {
        Lanes<T> b[NR];
#pragma GCC unroll 4
        for (int n = 0; n < NR; n++) b[n] = load(B + k * ldb + n * LANES<T>);
#pragma GCC unroll 16
        for (int m = 0; m < MR; m++) {
            const T a = A[m * row + k * step];
#pragma GCC unroll 4
            for (int n = 0; n < NR; n++) c[m][n] += a * b[n];
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < MR; m++)
#pragma GCC unroll 4
        for (int n = 0; n < NR; n++) store(C + m * ldc + n * LANES<T>, c[m][n]);
}

template <class T, int NR>
inline void panel(int M, const T *A, long row, long step, const T *B, long ldb, T *C, long ldc, int K, bool acc) {
    int m = 0;
    for (; m + 8 <= M; m += 8) tile<T, 8, NR>(A + m * row, row, step, B, ldb, C + m * ldc, ldc, K, acc);
    if (m + 4 <= M) { tile<T, 4, NR>(A + m * row, row, step, B, ldb, C + m * ldc, ldc, K, acc); m += 4; }
    for (; m < M; m++) tile<T, 1, NR>(A + m * row, row, step, B, ldb, C + m * ldc, ldc, K, acc);
}

template <class T>
void multiply(int M, int N, int K, const T *A, long row, long step, const T *B, long ldb, T *C, long ldc, bool acc) {
    int n = 0;
    for (; n + 2 * LANES<T> <= N; n += 2 * LANES<T>) panel<T, 2>(M, A, row, step, B + n, ldb, C + n, ldc, K, acc);
    if (n < N) panel<T, 1>(M, A, row, step, B + n, ldb, C + n, ldc, K, acc);
}

struct Path { int source, n_i, n_k, row, stride, matrix, sign; };

template <class T> struct Problem {
    const Path *paths; int n_paths; int components, rows, harmonics, matrix_size;
    int terms; const int *term_matrix, *term_harmonic; const T *term_value;       // sorted by entry of M
    const int *by_harmonic, *harmonic_matrix; const T *harmonic_value;             // the same, sorted by harmonic
    int channels, hidden; long n_nodes, n_pairs; int both; const int *centre, *neighbour;
    const T *weights, *weights_transposed; int threads;
    long width() const { return long(n_paths) * channels; }
};

template <class T> void couple(const Problem<T> &q, const T *Y, T *M) {
    std::memset(M, 0, sizeof(T) * q.matrix_size);
    for (int n = 0; n < q.terms; n++) M[q.term_matrix[n]] += q.term_value[n] * Y[q.term_harmonic[n]];
}

// calls f with the number of output components as a compile-time constant
template <class F> inline void with_size(int n, F &&f) {
    switch (n) {
    case 1: f(std::integral_constant<int, 1>()); break;
    case 3: f(std::integral_constant<int, 3>()); break;
    case 5: f(std::integral_constant<int, 5>()); break;
    case 7: f(std::integral_constant<int, 7>()); break;
    case 9: f(std::integral_constant<int, 9>()); break;
    }
}

template <class T, int NK>
inline void forward_path(const Path &p, const T *M, const T *x, const T *w, T sign, T *out, int C) {
    for (int v = 0; v < C; v += LANES<T>) {
        Lanes<T> sum[NK] = {};
        for (int i = 0; i < p.n_i; i++) {
            const Lanes<T> value = load(x + i * C + v);
#pragma GCC unroll 16
            for (int k = 0; k < NK; k++) sum[k] += M[i * NK + k] * value;
        }
        const Lanes<T> weight = sign * load(w + v);
#pragma GCC unroll 16
        for (int k = 0; k < NK; k++) add(out + k * p.stride * C + v, Lanes<T>(weight * sum[k]));
    }
}

template <class T, int NK, bool FIRST, bool HARMONICS>
inline void backward_path(const Path &p, const T *M, const T *x, const T *w, T sign, const T *g, T *gx, T *gw,
                          T *lanes, int C) {
    for (int v = 0; v < C; v += LANES<T>) {
        Lanes<T> gk[NK];
#pragma GCC unroll 16
        for (int k = 0; k < NK; k++) gk[k] = load(g + k * p.stride * C + v);
        const Lanes<T> weight = sign * load(w + v);
        Lanes<T> slope = {};
        for (int i = 0; i < p.n_i; i++) {
            const Lanes<T> value = load(x + i * C + v);
            Lanes<T> pull = {};
#pragma GCC unroll 16
            for (int k = 0; k < NK; k++) pull += M[i * NK + k] * gk[k];
            slope += pull * value;
            add(gx + i * C + v, Lanes<T>(weight * pull));
            if (HARMONICS) {
                const Lanes<T> scaled = weight * value;
                T *to = lanes + long(i) * NK * LANES<T>;
#pragma GCC unroll 16
                for (int k = 0; k < NK; k++) {
                    if (FIRST && v == 0) store(to + k * LANES<T>, Lanes<T>(scaled * gk[k]));
                    else add(to + k * LANES<T>, Lanes<T>(scaled * gk[k]));
                }
            }
        }
        if (FIRST) store(gw + v, Lanes<T>(sign * slope));
        else add(gw + v, Lanes<T>(sign * slope));
    }
}

template <class T, int NK, bool FIRST, bool HARMONICS>
inline void second_path(const Path &p, const T *M, const T *aM, const T *x, const T *ax, const T *w, const T *aw,
                        T sign, const T *g, T *dx, T *dg, T *dw, T *gw, T *lanes, int C) {
    for (int v = 0; v < C; v += LANES<T>) {
        Lanes<T> gk[NK], plain[NK] = {}, changed[NK] = {};
#pragma GCC unroll 16
        for (int k = 0; k < NK; k++) gk[k] = load(g + k * p.stride * C + v);
        const Lanes<T> weight = sign * load(w + v), change = sign * load(aw + v);
        Lanes<T> slope = {}, dslope = {};
        for (int i = 0; i < p.n_i; i++) {
            const Lanes<T> value = load(x + i * C + v), dvalue = load(ax + i * C + v);
            Lanes<T> pull = {}, dpull = {};
#pragma GCC unroll 16
            for (int k = 0; k < NK; k++) {
                const T m = M[i * NK + k], am = aM[i * NK + k];
                plain[k] += m * value;
                changed[k] += m * dvalue + am * value;
                pull += m * gk[k];
                dpull += am * gk[k];
            }
            slope += value * pull;
            dslope += dvalue * pull + value * dpull;
            add(dx + i * C + v, Lanes<T>(weight * dpull + change * pull));
            if (HARMONICS) {
                const Lanes<T> scaled = weight * dvalue + change * value;
                T *to = lanes + long(i) * NK * LANES<T>;
#pragma GCC unroll 16
                for (int k = 0; k < NK; k++) {
                    if (FIRST && v == 0) store(to + k * LANES<T>, Lanes<T>(scaled * gk[k]));
                    else add(to + k * LANES<T>, Lanes<T>(scaled * gk[k]));
                }
            }
        }
#pragma GCC unroll 16
        for (int k = 0; k < NK; k++)
            add(dg + k * p.stride * C + v, Lanes<T>(weight * changed[k] + change * plain[k]));
        if (FIRST) {
            store(gw + v, Lanes<T>(sign * slope));
            store(dw + v, Lanes<T>(sign * dslope));
        } else {
            add(gw + v, Lanes<T>(sign * slope));
            add(dw + v, Lanes<T>(sign * dslope));
        }
    }
}

template <class T> void reduce_harmonics(const Problem<T> &q, const T *lanes, T *gY) {
    for (int j = 0; j < q.harmonics; j++) {
        Lanes<T> sum = {};
        for (int n = q.by_harmonic[j]; n < q.by_harmonic[j + 1]; n++)
            sum += q.harmonic_value[n] * load(lanes + long(q.harmonic_matrix[n]) * LANES<T>);
        T total = 0;
        for (int l = 0; l < LANES<T>; l++) total += sum[l];
        gY[j] = total;
    }
}

// node rows that one thread writes; thread 0 writes straight into the (zeroed) result
template <class T> struct Windows {
    T *data[MAX_THREADS] = {};
    long low[MAX_THREADS], high[MAX_THREADS], row;
    T *result;
    Windows(T *result, long row) : row(row), result(result) {}
    void open(int thread, long lo, long hi) {
        low[thread] = lo; high[thread] = hi;
        if (thread == 0 || !result) return;
        data[thread] = allocate<T>((hi - lo) * row);
        std::memset(data[thread], 0, sizeof(T) * std::max(hi - lo, 0L) * row);
    }
    T *at(int thread, long node) const {
        return thread == 0 ? result + node * row : data[thread] + (node - low[thread]) * row;
    }
    void collect(int thread, int threads, long n_nodes) const {   // after a barrier
        if (!result) return;
        for (long n = n_nodes * thread / threads; n < n_nodes * (thread + 1) / threads; n++)
            for (int t = 1; t < threads; t++) {
                if (n < low[t] || n >= high[t]) continue;
                const T *from = data[t] + (n - low[t]) * row;
                T *to = result + n * row;
                for (long c = 0; c < row; c += LANES<T>) add(to + c, load(from + c));
            }
    }
    void collect_columns(int thread, int threads) const {         // the same for a single row
        if (!result) return;
        const long wide = row / LANES<T>;
        for (long c = wide * thread / threads; c < wide * (thread + 1) / threads; c++)
            for (int t = 1; t < threads; t++) add(result + c * LANES<T>, load(data[t] + c * LANES<T>));
    }
    ~Windows() { for (T *p : data) std::free(p); }
};

template <class T> struct Range { long first, last, low, high; };

template <class T> Range<T> range(const Problem<T> &q, int thread, int threads) {
    Range<T> r{q.n_pairs * thread / threads, q.n_pairs * (thread + 1) / threads, q.n_nodes, 0};
    for (long e = r.first; e < r.last; e++) {
        r.low = std::min<long>(r.low, std::min(q.centre[e], q.neighbour[e]));
        r.high = std::max<long>(r.high, std::max(q.centre[e], q.neighbour[e]) + 1);
    }
    r.low = std::min(r.low, r.high);
    return r;
}

template <class T> int team(const Problem<T> &q) {
    return int(std::max(1L, std::min<long>(std::min(q.threads, MAX_THREADS), q.n_pairs / BLOCK)));
}

template <class T> void forward(const Problem<T> &q, const T *x, const T *Y, const T *h, T *out) {
    const int C = q.channels;
    const long width = q.width();
    Windows<T> sums(out, long(q.rows) * C);
#pragma omp parallel num_threads(team(q))
    {
        const int me = omp_get_thread_num(), threads = omp_get_num_threads();
        const Range<T> mine = range(q, me, threads);
        sums.open(me, mine.low, mine.high);
        T *w = allocate<T>(BLOCK * width), *M = allocate<T>(q.matrix_size);
        for (long block = mine.first; block < mine.last; block += BLOCK) {
            const int count = int(std::min<long>(BLOCK, mine.last - block));
            multiply(count, int(width), q.hidden, h + block * q.hidden, q.hidden, 1L, q.weights, width, w, width, false);
            for (int e = 0; e < count; e++) {
                const long i = q.centre[block + e], j = q.neighbour[block + e];
                couple(q, Y + (block + e) * q.harmonics, M);
                for (int direction = 0; direction <= q.both; direction++) {
                    const T *from = x + (direction ? i : j) * q.components * C;
                    T *to = sums.at(me, direction ? j : i);
                    for (int n = 0; n < q.n_paths; n++) {
                        const Path &p = q.paths[n];
                        const T sign = direction ? T(p.sign) : T(1);
                        with_size(p.n_k, [&](auto size) {
                            forward_path<T, decltype(size)::value>(p, M + p.matrix, from + p.source * C,
                                                                   w + e * width + n * C, sign, to + p.row * C, C);
                        });
                    }
                }
            }
        }
        std::free(w); std::free(M);
#pragma omp barrier
        sums.collect(me, threads, q.n_nodes);
    }
}

template <class T, bool HARMONICS>
void backward(const Problem<T> &q, const T *x, const T *Y, const T *h, const T *g, T *gx, T *gY, T *gh, T *gW) {
    const int C = q.channels;
    const long width = q.width(), size = width * q.hidden;
    Windows<T> sums(gx, long(q.components) * C), slopes(gW, size);
#pragma omp parallel num_threads(team(q))
    {
        const int me = omp_get_thread_num(), threads = omp_get_num_threads();
        const Range<T> mine = range(q, me, threads);
        sums.open(me, mine.low, mine.high);
        slopes.open(me, 0, 1);
        T *w = allocate<T>(BLOCK * width), *gw = allocate<T>(BLOCK * width), *M = allocate<T>(q.matrix_size);
        T *lanes = allocate<T>(long(q.matrix_size) * LANES<T>);
        for (long block = mine.first; block < mine.last; block += BLOCK) {
            const int count = int(std::min<long>(BLOCK, mine.last - block));
            const T *hidden = h + block * q.hidden;
            multiply(count, int(width), q.hidden, hidden, q.hidden, 1L, q.weights, width, w, width, false);
            for (int e = 0; e < count; e++) {
                const long i = q.centre[block + e], j = q.neighbour[block + e];
                couple(q, Y + (block + e) * q.harmonics, M);
                for (int direction = 0; direction <= q.both; direction++) {
                    const long source = direction ? i : j, target = direction ? j : i;
                    const T *from = x + source * q.components * C;
                    T *back = sums.at(me, source);
                    const T *to = g + target * q.rows * C;
                    for (int n = 0; n < q.n_paths; n++) {
                        const Path &p = q.paths[n];
                        with_size(p.n_k, [&](auto k) {
                            const long at = e * width + n * C;
                            if (direction == 0)
                                backward_path<T, decltype(k)::value, true, HARMONICS>(
                                    p, M + p.matrix, from + p.source * C, w + at, T(1), to + p.row * C,
                                    back + p.source * C, gw + at, lanes + p.matrix * LANES<T>, C);
                            else
                                backward_path<T, decltype(k)::value, false, HARMONICS>(
                                    p, M + p.matrix, from + p.source * C, w + at, T(p.sign), to + p.row * C,
                                    back + p.source * C, gw + at, lanes + p.matrix * LANES<T>, C);
                        });
                    }
                }
                if (HARMONICS) reduce_harmonics(q, lanes, gY + (block + e) * q.harmonics);
            }
            multiply(count, q.hidden, int(width), gw, width, 1L, q.weights_transposed, q.hidden, gh + block * q.hidden,
                     q.hidden, false);
            if (gW) multiply(q.hidden, int(width), count, hidden, 1L, q.hidden, gw, width, slopes.at(me, 0), width, true);
        }
        std::free(w); std::free(gw); std::free(M); std::free(lanes);
#pragma omp barrier
        sums.collect(me, threads, q.n_nodes);
        slopes.collect_columns(me, threads);
    }
}

template <class T, bool HARMONICS>
void second(const Problem<T> &q, const T *x, const T *Y, const T *h, const T *g, const T *ax, const T *aY, const T *ah,
            T *dx, T *dY, T *dh, T *dW, T *dg) {
    const int C = q.channels;
    const long width = q.width(), size = width * q.hidden;
    Windows<T> inputs(dx, long(q.components) * C), outputs(dg, long(q.rows) * C), slopes(dW, size);
#pragma omp parallel num_threads(team(q))
    {
        const int me = omp_get_thread_num(), threads = omp_get_num_threads();
        const Range<T> mine = range(q, me, threads);
        inputs.open(me, mine.low, mine.high);
        outputs.open(me, mine.low, mine.high);
        slopes.open(me, 0, 1);
        T *buffer = allocate<T>(4 * BLOCK * width), *M = allocate<T>(q.matrix_size), *aM = allocate<T>(q.matrix_size);
        T *w = buffer, *aw = w + BLOCK * width, *gw = aw + BLOCK * width, *dw = gw + BLOCK * width;
        T *lanes = allocate<T>(long(q.matrix_size) * LANES<T>);
        for (long block = mine.first; block < mine.last; block += BLOCK) {
            const int count = int(std::min<long>(BLOCK, mine.last - block));
            const T *hidden = h + block * q.hidden, *dhidden = ah + block * q.hidden;
            multiply(count, int(width), q.hidden, hidden, q.hidden, 1L, q.weights, width, w, width, false);
            multiply(count, int(width), q.hidden, dhidden, q.hidden, 1L, q.weights, width, aw, width, false);
            for (int e = 0; e < count; e++) {
                const long i = q.centre[block + e], j = q.neighbour[block + e];
                couple(q, Y + (block + e) * q.harmonics, M);
                couple(q, aY + (block + e) * q.harmonics, aM);
                for (int direction = 0; direction <= q.both; direction++) {
                    const long source = direction ? i : j, target = direction ? j : i;
                    const T *from = x + source * q.components * C, *dfrom = ax + source * q.components * C;
                    T *back = inputs.at(me, source), *dto = outputs.at(me, target);
                    const T *to = g + target * q.rows * C;
                    for (int n = 0; n < q.n_paths; n++) {
                        const Path &p = q.paths[n];
                        with_size(p.n_k, [&](auto k) {
                            const long at = e * width + n * C;
                            if (direction == 0)
                                second_path<T, decltype(k)::value, true, HARMONICS>(
                                    p, M + p.matrix, aM + p.matrix, from + p.source * C, dfrom + p.source * C, w + at,
                                    aw + at, T(1), to + p.row * C, back + p.source * C, dto + p.row * C, dw + at,
                                    gw + at, lanes + p.matrix * LANES<T>, C);
                            else
                                second_path<T, decltype(k)::value, false, HARMONICS>(
                                    p, M + p.matrix, aM + p.matrix, from + p.source * C, dfrom + p.source * C, w + at,
                                    aw + at, T(p.sign), to + p.row * C, back + p.source * C, dto + p.row * C, dw + at,
                                    gw + at, lanes + p.matrix * LANES<T>, C);
                        });
                    }
                }
                if (HARMONICS) reduce_harmonics(q, lanes, dY + (block + e) * q.harmonics);
            }
            multiply(count, q.hidden, int(width), dw, width, 1L, q.weights_transposed, q.hidden, dh + block * q.hidden,
                     q.hidden, false);
            if (dW) {
                multiply(q.hidden, int(width), count, hidden, 1L, q.hidden, dw, width, slopes.at(me, 0), width, true);
                multiply(q.hidden, int(width), count, dhidden, 1L, q.hidden, gw, width, slopes.at(me, 0), width, true);
            }
        }
        std::free(buffer); std::free(M); std::free(aM); std::free(lanes);
#pragma omp barrier
        inputs.collect(me, threads, q.n_nodes);
        outputs.collect(me, threads, q.n_nodes);
        slopes.collect_columns(me, threads);
    }
}

}  // namespace

// sizes: n_paths, components, rows, harmonics, matrix_size, terms, channels, hidden, n_nodes, n_pairs, both, threads
// tables: paths, term_matrix, term_harmonic, term_value, by_harmonic, harmonic_matrix, harmonic_value, centre,
//         neighbour, weights, weights_transposed
template <class T> static Problem<T> problem(const long *s, const void *const *t) {
    Problem<T> q;
    q.n_paths = int(s[0]); q.components = int(s[1]); q.rows = int(s[2]); q.harmonics = int(s[3]);
    q.matrix_size = int(s[4]); q.terms = int(s[5]); q.channels = int(s[6]); q.hidden = int(s[7]);
    q.n_nodes = s[8]; q.n_pairs = s[9]; q.both = int(s[10]); q.threads = int(s[11]);
    q.paths = static_cast<const Path *>(t[0]);
    q.term_matrix = static_cast<const int *>(t[1]);
    q.term_harmonic = static_cast<const int *>(t[2]);
    q.term_value = static_cast<const T *>(t[3]);
    q.by_harmonic = static_cast<const int *>(t[4]);
    q.harmonic_matrix = static_cast<const int *>(t[5]);
    q.harmonic_value = static_cast<const T *>(t[6]);
    q.centre = static_cast<const int *>(t[7]);
    q.neighbour = static_cast<const int *>(t[8]);
    q.weights = static_cast<const T *>(t[9]);
    q.weights_transposed = static_cast<const T *>(t[10]);
    return q;
}

#define ENTRY(T, name)                                                                                          \
    extern "C" void forward_##name(const long *s, const void *const *t, const T *x, const T *Y, const T *h,     \
                                   T *out) {                                                                    \
        forward(problem<T>(s, t), x, Y, h, out);                                                                \
    }                                                                                                           \
    extern "C" void backward_##name(const long *s, const void *const *t, const T *x, const T *Y, const T *h,    \
                                    const T *g, T *gx, T *gY, T *gh, T *gW) {                                   \
        const Problem<T> q = problem<T>(s, t);                                                                  \
        if (gY) backward<T, true>(q, x, Y, h, g, gx, gY, gh, gW);                                               \
        else backward<T, false>(q, x, Y, h, g, gx, gY, gh, gW);                                                 \
    }                                                                                                           \
    extern "C" void second_##name(const long *s, const void *const *t, const T *x, const T *Y, const T *h,      \
                                  const T *g, const T *ax, const T *aY, const T *ah, T *dx, T *dY, T *dh,       \
                                  T *dW, T *dg) {                                                               \
        const Problem<T> q = problem<T>(s, t);                                                                  \
        if (dY) second<T, true>(q, x, Y, h, g, ax, aY, ah, dx, dY, dh, dW, dg);                                 \
        else second<T, false>(q, x, Y, h, g, ax, aY, ah, dx, dY, dh, dW, dg);                                   \
    }
ENTRY(float, float)
ENTRY(double, double)
