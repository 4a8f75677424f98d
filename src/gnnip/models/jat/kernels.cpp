// Attention over edges j -> i: its logits, without arrays of (edges x width), and its softmax in few passes.
//
//   l[e, h] = sum_c A[h, c] swish(z[e, c]),   z[e, c] = q[j, c] + k[i, c]
//
//   forward   l
//   backward  for u = dS/dl: dS/dq, dS/dk, dS/dA
//   second    the gradients by q, k, A, u of  <aq, dS/dq> + <ak, dS/dk>
//
//   b[e] = exp(l[e]) / Z,  a[e] = w[e] b[e],  a0 = exp(l0) / Z,  Z = exp(l0) + sum over edges into i of w exp(l)
//
//   softmax_forward   b, a0
//   softmax_backward  for u = dS/da, u0 = dS/da0 and M = sum a u + a0 u0:  dS/dl = a (u - M), dS/dw = b (u - M)
//   softmax_second    the gradients by l, w, u of  <x, dS/dl> + <y, dS/dw>
//
// Edges are sorted by i. Each thread has a fixed range of receivers and its own sums over the senders, added in order
// at the end: results do not depend on timing. Widths are multiples of 64 bytes.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <omp.h>
#include <vector>

namespace {

typedef float FloatLanes __attribute__((vector_size(64)));
typedef float FloatMemory __attribute__((vector_size(64), aligned(4), may_alias));
typedef int FloatBits __attribute__((vector_size(64)));
typedef double DoubleLanes __attribute__((vector_size(64)));
typedef double DoubleMemory __attribute__((vector_size(64), aligned(8), may_alias));
typedef long DoubleBits __attribute__((vector_size(64)));
template <class T> struct Wide;
// magic: adding it rounds to an integer, which is then in the lowest bits
template <> struct Wide<float> {
    typedef FloatLanes Lanes; typedef FloatMemory Memory; typedef FloatBits Bits;
    static constexpr float magic = 12582912.f, largest = 120.f;
    static constexpr int bias = 127, mantissa = 23, terms = 6;
};
template <> struct Wide<double> {
    typedef DoubleLanes Lanes; typedef DoubleMemory Memory; typedef DoubleBits Bits;
    static constexpr double magic = 6755399441055744., largest = 1000.;
    static constexpr long bias = 1023, mantissa = 52; static constexpr int terms = 13;
};
template <class T> using Lanes = typename Wide<T>::Lanes;
template <class T> constexpr int LANES = 64 / sizeof(T);

template <class T> inline Lanes<T> load(const T *p) { return *reinterpret_cast<const typename Wide<T>::Memory *>(p); }
template <class T> inline void add(T *p, Lanes<T> v) {
    *reinterpret_cast<typename Wide<T>::Memory *>(p) = load(p) + v;
}
template <class T> inline void store(T *p, Lanes<T> v) { *reinterpret_cast<typename Wide<T>::Memory *>(p) = v; }

// found[h] = sum over c of x[c] A[h, c]
template <class T> inline void dot(const T *x, const T *A, long width, long heads, T *found) {
    for (long h = 0; h < heads; h++, A += width) {
        Lanes<T> total = load(x) * load(A);
        for (long c = LANES<T>; c < width; c += LANES<T>) total += load(x + c) * load(A + c);
        T half[LANES<T>];
        store(half, total);
#pragma GCC unroll 4
        for (int n = LANES<T> / 2; n > 0; n /= 2)
            for (int k = 0; k < n; k++) half[k] += half[k + n];
        found[h] = half[0];
    }
}

// ln(2)^k / k!: the Taylor series of 2^f
struct Series {
    double of[14] = {1.};
    constexpr Series() {
        for (int k = 1; k < 14; k++) of[k] = of[k - 1] * 0.6931471805599453 / k;
    }
};
constexpr Series series;

// 1 / (1 + 2^y), y = -x / ln(2), 2^y = 2^n 2^f with |f| <= 1/2
template <class T> inline Lanes<T> sigmoid(Lanes<T> x) {
    typedef Wide<T> W;
    Lanes<T> y = x * T(-1.4426950408889634), top = Lanes<T>{} + W::largest;
    y = y > top ? top : y;
    y = y < -top ? -top : y;
    const Lanes<T> shifted = y + W::magic, f = y - (shifted - W::magic);
    Lanes<T> power = Lanes<T>{} + T(series.of[W::terms]);
#pragma GCC unroll 16
    for (int k = W::terms - 1; k >= 0; k--) power = power * f + T(series.of[k]);
    return T(1) / (T(1) + power * (Lanes<T>)(((typename W::Bits)shifted + W::bias) << W::mantissa));
}

template <class T> struct Problem {
    long nodes, width, heads, threads;
    const long *source, *offsets;
    const T *q, *k, *A;
};

// Call body(receiver, edge, sender, scratch (width), sums over senders, sums for A) for every edge, then add up the
// threads' sums.
template <class T, class Body> void over_edges(const Problem<T> &p, T *senders, T *dA, Body body) {
    const long size = senders ? p.nodes * p.width : 0, weights = dA ? p.heads * p.width : 0;
    std::vector<std::vector<T>> own(p.threads);
#pragma omp parallel num_threads(p.threads)
    {
        const long t = omp_get_thread_num(), team = omp_get_num_threads(), edges = p.offsets[p.nodes];
        own[t].assign(size + weights + p.width, T(0));
        T *to_senders = own[t].data(), *to_A = to_senders + size, *scratch = to_A + weights;
        const long *begin = std::lower_bound(p.offsets, p.offsets + p.nodes, edges * t / team);
        const long *end = t + 1 == team ? p.offsets + p.nodes : std::lower_bound(p.offsets, p.offsets + p.nodes, edges * (t + 1) / team);
        for (long i = begin - p.offsets; i < end - p.offsets; i++)
            for (long e = p.offsets[i]; e < p.offsets[i + 1]; e++) body(i, e, p.source[e], scratch, to_senders, to_A);
#pragma omp barrier
        for (long at = size * t / team; at < size * (t + 1) / team; at++)
            for (long s = 0; s < team; s++) senders[at] += own[s][at];
#pragma omp single
        for (long at = 0; at < weights; at++)
            for (long s = 0; s < team; s++) dA[at] += own[s][size + at];
    }
}

// sum over heads of u[h] A[h, c]
template <class T> inline Lanes<T> mixed(const Problem<T> &p, const T *u, long c) {
    Lanes<T> y = load(p.A + c) * u[0];
    for (long h = 1; h < p.heads; h++) y += load(p.A + h * p.width + c) * u[h];
    return y;
}

template <class T> void forward(const Problem<T> &p, T *l) {
    over_edges(p, (T *)nullptr, (T *)nullptr, [&](long i, long e, long j, T *scratch, T *, T *) {
        const T *q = p.q + j * p.width, *k = p.k + i * p.width;
        for (long c = 0; c < p.width; c += LANES<T>) {
            const Lanes<T> z = load(q + c) + load(k + c);
            store<T>(scratch + c, z * sigmoid<T>(z));
        }
        dot(scratch, p.A, p.width, p.heads, l + e * p.heads);
    });
}

template <class T> void backward(const Problem<T> &p, const T *u, T *dq, T *dk, T *dA) {
    over_edges(p, dq, dA, [&](long i, long e, long j, T *, T *to_senders, T *to_A) {
        const T *q = p.q + j * p.width, *k = p.k + i * p.width, *ue = u + e * p.heads;
        for (long c = 0; c < p.width; c += LANES<T>) {
            const Lanes<T> z = load(q + c) + load(k + c), s = sigmoid<T>(z), f = z * s;
            const Lanes<T> dz = mixed(p, ue, c) * (s + f * (T(1) - s));
            add(to_senders + j * p.width + c, dz);
            add(dk + i * p.width + c, dz);
            if (dA) for (long h = 0; h < p.heads; h++) add(to_A + h * p.width + c, Lanes<T>(f * ue[h]));
        }
    });
}

template <class T>
void second(const Problem<T> &p, const T *u, const T *aq, const T *ak, T *dq, T *dk, T *dA, T *du) {
    over_edges(p, dq, dA, [&](long i, long e, long j, T *scratch, T *to_senders, T *to_A) {
        const long from = j * p.width, to = i * p.width;
        const T *ue = u + e * p.heads;
        for (long c = 0; c < p.width; c += LANES<T>) {
            const Lanes<T> z = load(p.q + from + c) + load(p.k + to + c), v = load(aq + from + c) + load(ak + to + c);
            const Lanes<T> s = sigmoid<T>(z), rest = T(1) - s;
            const Lanes<T> slope = v * s * (T(1) + z * rest);
            const Lanes<T> dz = v * mixed(p, ue, c) * s * rest * (T(2) + z * (T(1) - T(2) * s));
            add(to_senders + from + c, dz);
            add(dk + to + c, dz);
            store<T>(scratch + c, slope);
            if (dA) for (long h = 0; h < p.heads; h++) add(to_A + h * p.width + c, Lanes<T>(slope * ue[h]));
        }
        dot(scratch, p.A, p.width, p.heads, du + e * p.heads);
    });
}

template <class T> struct Softmax {
    long nodes, heads, threads;
    const long *offsets;
    const T *l, *l0, *w;  // w may be null
    T *b, *a0;
    T weight(long e) const { return w ? w[e] : T(1); }
};

// Call body(place of a receiver, its first and last edge, place of an edge from its number) for every receiver and head.
template <class T, class Body> void over_receivers(const Softmax<T> &p, Body body) {
#pragma omp parallel for num_threads(p.threads) schedule(static)
    for (long i = 0; i < p.nodes; i++)
        for (long h = 0; h < p.heads; h++)
            body(i * p.heads + h, p.offsets[i], p.offsets[i + 1], [&p, h](long e) { return e * p.heads + h; });
}

template <class T> void softmax_forward(const Softmax<T> &p) {
    over_receivers(p, [&](long i, long begin, long end, auto at) {
        T top = p.l0[i];
        for (long e = begin; e < end; e++) top = std::max(top, p.l[at(e)]);
        T total = p.a0[i] = std::exp(p.l0[i] - top);
        for (long e = begin; e < end; e++) total += p.weight(e) * (p.b[at(e)] = std::exp(p.l[at(e)] - top));
        p.a0[i] /= total;
        for (long e = begin; e < end; e++) p.b[at(e)] /= total;
    });
}

template <class T> void softmax_backward(const Softmax<T> &p, const T *u, const T *u0, T *dl, T *dl0, T *dw) {
    over_receivers(p, [&](long i, long begin, long end, auto at) {
        T M = p.a0[i] * u0[i];
        for (long e = begin; e < end; e++) M += p.weight(e) * p.b[at(e)] * u[at(e)];
        dl0[i] = p.a0[i] * (u0[i] - M);
        for (long e = begin; e < end; e++) {
            const T slope = p.b[at(e)] * (u[at(e)] - M);
            dl[at(e)] = p.weight(e) * slope;
            if (dw) dw[e] += slope;
        }
    });
}

// r = w x + y,  N = sum b r + a0 x0,  R = M N - (sum b r u + a0 x0 u0)
template <class T>
void softmax_second(const Softmax<T> &p, const T *u, const T *u0, const T *x, const T *x0, const T *y, T *dl, T *dl0,
                    T *dw, T *du, T *du0) {
    over_receivers(p, [&](long i, long begin, long end, auto at) {
        const auto r = [&](long e) { return p.weight(e) * x[at(e)] + (y ? y[e] : T(0)); };
        T N = p.a0[i] * x0[i], M = p.a0[i] * u0[i], R = -N * u0[i];
        for (long e = begin; e < end; e++) {
            const T part = p.b[at(e)] * r(e);
            N += part;
            R -= part * u[at(e)];
            M += p.weight(e) * p.b[at(e)] * u[at(e)];
        }
        R += M * N;
        dl0[i] = p.a0[i] * ((x0[i] - N) * (u0[i] - M) + R);
        du0[i] = p.a0[i] * (x0[i] - N);
        for (long e = begin; e < end; e++) {
            const T b = p.b[at(e)], rest = r(e) - N * p.weight(e), slope = u[at(e)] - M;
            dl[at(e)] = b * (slope * rest + p.weight(e) * R);
            du[at(e)] = b * rest;
            if (dw) dw[e] += b * (slope * (x[at(e)] - N) + R);
        }
    });
}

template <class T> Softmax<T> softmax(const long *sizes, const void *const *t) {
    return {sizes[0], sizes[1], sizes[2], (const long *)t[0], (const T *)t[1],
            (const T *)t[2], (const T *)t[3], (T *)t[4], (T *)t[5]};
}

template <class T> Problem<T> problem(const long *sizes, const void *const *t) {
    return {sizes[0], sizes[1], sizes[2], sizes[3], (const long *)t[0], (const long *)t[1],
            (const T *)t[2], (const T *)t[3], (const T *)t[4]};
}

}  // namespace

#define EXPORT(T)                                                                                                      \
    extern "C" void forward_##T(const long *sizes, const void *const *t, T *l) { forward(problem<T>(sizes, t), l); }   \
    extern "C" void backward_##T(const long *sizes, const void *const *t, const T *u, T *dq, T *dk, T *dA) {           \
        backward(problem<T>(sizes, t), u, dq, dk, dA);                                                                 \
    }                                                                                                                  \
    extern "C" void second_##T(const long *sizes, const void *const *t, const T *u, const T *aq, const T *ak, T *dq,   \
                               T *dk, T *dA, T *du) {                                                                  \
        second(problem<T>(sizes, t), u, aq, ak, dq, dk, dA, du);                                                       \
    }                                                                                                                  \
    extern "C" void softmax_forward_##T(const long *sizes, const void *const *t) {                                     \
        softmax_forward(softmax<T>(sizes, t));                                                                         \
    }                                                                                                                  \
    extern "C" void softmax_backward_##T(const long *sizes, const void *const *t, const T *u, const T *u0, T *dl,      \
                                         T *dl0, T *dw) {                                                              \
        softmax_backward(softmax<T>(sizes, t), u, u0, dl, dl0, dw);                                                    \
    }                                                                                                                  \
    extern "C" void softmax_second_##T(const long *sizes, const void *const *t, const T *u, const T *u0, const T *x,   \
                                       const T *x0, const T *y, T *dl, T *dl0, T *dw, T *du, T *du0) {                 \
        softmax_second(softmax<T>(sizes, t), u, u0, x, x0, y, dl, dl0, dw, du, du0);                                   \
    }
EXPORT(float)
EXPORT(double)
