// The choice of tokens. ../sample.py is the specification: the same single operations on every element, and sums
// of whole numbers below 2^53, which are exact in any order. So nothing here depends on lanes, blocks or threads,
// and no product may be fused with a sum (see FLAGS in build.py).
//
// A row is read once for the largest logit of each block of columns. Most blocks are then never read again: they
// are below what top-k, min-p or the smallest weight can keep.
#include <math.h>
#include <stdlib.h>
#include "pool.h"
#include "simd.h"

#define VECTORS 8                 // in a block
#define BLOCK (VECTORS * LANES)
#define FEW 4096                  // columns that are put in order one by one, of those of a bracket
#define FEW_AT_FIRST 16384        // of all that may be kept, most of which top-k's bound has left out already
#define SAMPLED 64                // one block in so many shows about where a threshold is
#define WEIGHT_ONE 0x1p34f
#define LEAST_WEIGHT 24.4         // exp(-24.4) rounds to no weight

typedef float half_vf __attribute__((vector_size(2 * LANES)));
typedef double half_vd __attribute__((vector_size(4 * LANES)));

typedef struct { float logit; int32_t id; double weight; } Candidate;

typedef struct {
    const float *logits;
    int64_t vocab, num_blocks;
    float *largest_of;            // [num_blocks]
    float largest, scale, min_p;  // scale is 1 / temperature
    float least;                  // nothing below it has a weight or can be kept
    float *weights;               // [num_blocks * BLOCK], in whole units; of the blocks that reach `least`
    double *sums;                 // [num_blocks], of the weights
    double total;
    int64_t columns;              // of the blocks that reach `least`
    Candidate *work;              // [vocab + 1]
    float *copy;                  // [num_blocks]
} Row;

typedef struct { float logit; int32_t id; } Threshold;  // what comes after it in order is not kept
static const Threshold EVERYTHING = {-INFINITY, INT32_MAX};

// The first n columns from p on, -inf in the other lanes.
INLINE vf load_some(const float *p, int64_t n) {
    if (n >= LANES) return vf_load(p);
    float x[LANES];
    for (int i = 0; i < LANES; i++) x[i] = i < n ? p[i] : -INFINITY;
    return vf_load(x);
}

static const int32_t COUNT[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
INLINE vi lane_numbers(void) { vi v; memcpy(&v, COUNT, sizeof v); return v; }
INLINE int any(vi mask) {
#if defined(SIMD_AVX512)
    return _mm512_movepi32_mask((__m512i)mask) != 0;
#elif defined(SIMD_AVX2)
    return _mm256_movemask_ps((__m256)mask) != 0;
#else
    return (mask[0] | mask[1] | mask[2] | mask[3]) != 0;
#endif
}

// Where a machine has one instruction for it; all give the same bits. Of unordered numbers `larger` gives the second.
#if defined(SIMD_AVX512)
#define NEAREST (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
INLINE vf larger(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vf floor_of(vf x) { return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
INLINE vf nearest(vf x) { return (vf)_mm512_roundscale_ps((__m512)x, NEAREST); }
INLINE half_vd widened(half_vf x) { return (half_vd)_mm512_cvtps_pd((__m256)x); }
#elif defined(SIMD_AVX2)
INLINE vf larger(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vf floor_of(vf x) { return (vf)_mm256_floor_ps((__m256)x); }
INLINE vf nearest(vf x) { return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE half_vd widened(half_vf x) { return (half_vd)_mm256_cvtps_pd((__m128)x); }
#else
INLINE vf larger(vf a, vf b) { return vf_max(a, b); }
INLINE vf floor_of(vf x) {  // |x| < 2^31
    vf truncated = vf_from_int(__builtin_convertvector(x, vi));
    return truncated - vf_select(truncated > x, vf_set(1.0f), (vf){0});
}
INLINE vf nearest(vf x) { return vf_select(x < vf_set(0x1p23f), (x + 0x1p23f) - 0x1p23f, x); }  // x >= 0
INLINE half_vd widened(half_vf x) { return __builtin_convertvector(x, half_vd); }
#endif

// ../sample.py's weights_naive, operation by operation.
INLINE vf weights(const Row *row, vf logits) {
    vf exponent = larger((logits - row->largest) * row->scale, vf_set(-87.0f));
    vf twos = floor_of(exponent * 1.44269504088896341f + 0.5f);
    vf rest = exponent - twos * 0.693359375f - twos * -2.12194440e-4f;
    vf value = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    value = value * rest + 8.3334519073e-3f;
    value = value * rest + 4.1665795894e-2f;
    value = value * rest + 1.6666665459e-1f;
    value = value * rest + 5.0000001201e-1f;
    value = value * (rest * rest) + rest + 1.0f;
    vi power = (__builtin_convertvector(twos, vi) + 127) << 23;
    return value * (vf)power;
}

// Weights in whole units; 0 for what min_p leaves out.
INLINE vf whole_weights(const Row *row, vf logits) {
    vf weight = weights(row, logits);
    return vf_select(weight >= row->min_p, nearest(weight * WEIGHT_ONE), (vf){0});
}

INLINE int64_t block_end(const Row *row, int64_t block) {
    int64_t end = (block + 1) * BLOCK;
    return end < row->vocab ? end : row->vocab;
}

INLINE int is_hit(const Row *row, int64_t block, float least) { return row->largest_of[block] >= least; }

INLINE half_vd added(half_vd sum, vf x) {
    half_vf halves[2];
    memcpy(halves, &x, sizeof x);
    return sum + widened(halves[0]) + widened(halves[1]);
}
INLINE double added_up(half_vd sum) {
    double total = 0;
    for (int lane = 0; lane < LANES / 2; lane++) total += sum[lane];
    return total;
}

// The weights of the blocks that reach `least`, and their sums.
static void weigh(Row *row) {
    row->total = 0;
    row->columns = 0;
    for (int64_t block = 0; block < row->num_blocks; block++) {
        row->sums[block] = 0;
        if (!is_hit(row, block, row->least)) continue;
        int64_t start = block * BLOCK, end = block_end(row, block);
        half_vd sum = {0};
        for (int64_t i = start; i < start + BLOCK; i += LANES) {
            vf weight = i < end ? whole_weights(row, load_some(row->logits + i, end - i)) : (vf){0};
            vf_store(row->weights + i, weight);
            sum = added(sum, weight);
        }
        row->sums[block] = added_up(sum);
        row->total += row->sums[block];
        row->columns += end - start;
    }
}

// The largest logit of each block and of all. Returns 0 where there is none to choose: NaN, +inf, all -inf.
static int scan(Row *row) {
    vi bad = {0};
    float largest = -INFINITY;
    for (int64_t block = 0; block < row->num_blocks; block++) {
        int64_t end = block_end(row, block);
        vf most = vf_set(-INFINITY);
        for (int64_t i = block * BLOCK; i < end; i += LANES) {
            vf x = load_some(row->logits + i, end - i);
            bad |= ~(x < INFINITY);
            most = larger(most, x);
        }
        row->largest_of[block] = vf_largest(most);
        if (row->largest_of[block] > largest) largest = row->largest_of[block];
    }
    row->largest = largest;
    return !any(bad) && largest > -INFINITY;
}

static int64_t first_largest(const Row *row) {
    int64_t block = 0;
    while (row->largest_of[block] != row->largest) block++;
    int64_t i = block * BLOCK;
    while (row->logits[i] != row->largest) i++;
    return i;
}

// Order: larger logits first, then lower ids. No two candidates are equal in it.
INLINE int precedes(float logit, int32_t id, Threshold than) {
    return logit > than.logit || (logit == than.logit && id <= than.id);
}

// Quickselect's step on c[0, n): the first `return value` come not after one of them, the rest after it.
static int64_t partition(Candidate *c, int64_t n) {
    Candidate *middle = c + n / 2, *last = c + n - 1;
    Threshold first = {c->logit, c->id}, other = {last->logit, last->id};
    Candidate *median = precedes(middle->logit, middle->id, first)
        ? (precedes(c->logit, c->id, other) ? c : precedes(middle->logit, middle->id, other) ? last : middle)
        : (precedes(middle->logit, middle->id, other) ? middle : precedes(c->logit, c->id, other) ? last : c);
    Candidate pivot = *median;
    *median = *last;
    Threshold at = {pivot.logit, pivot.id};
    int64_t kept = 0;
    for (int64_t i = 0; i < n - 1; i++) {
        Candidate current = c[i];
        c[i] = c[kept];
        c[kept] = current;
        kept += precedes(current.logit, current.id, at);
    }
    *last = c[kept];
    c[kept] = pivot;
    return kept + 1;
}

// Orders c so that its first candidates are the fewest that come first and number `count`, or weigh `mass`,
// whichever is fewer, and gives their number.
static int64_t select_first(Candidate *c, int64_t n, int64_t count, double mass) {
    int64_t low = 0, high = n;
    double before = 0;
    while (high - low > 1) {
        int64_t split = low + partition(c + low, high - low);
        if (split == high) split--;  // all but the last, which is the pivot
        double part = 0;
        for (int64_t i = low; i < split; i++) part += c[i].weight;
        if (split >= count || before + part >= mass) high = split;
        else { low = split; before += part; }
    }
    return high;
}

static Threshold last_of(const Candidate *c, int64_t n) {
    Threshold last = {INFINITY, 0};
    for (int64_t i = 0; i < n; i++)
        if (!precedes(c[i].logit, c[i].id, last)) last = (Threshold){c[i].logit, c[i].id};
    return last;
}

// The k-th largest of the blocks' largest logits: at least k columns reach it.
static float kth_block(const Row *row, int64_t k) {
    float *x = row->copy;
    memcpy(x, row->largest_of, row->num_blocks * sizeof *x);
    int64_t low = 0, high = row->num_blocks - 1;
    k--;
    while (low < high) {
        float pivot = x[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot) i++;
            while (x[j] < pivot) j--;
            if (i <= j) { float t = x[i]; x[i] = x[j]; x[j] = t; i++; j--; }
        }
        if (k <= j) high = j;
        else if (k >= i) low = i;
        else break;
    }
    return x[k];
}

// Those from `low` on and below `high`, of one block in `step`, in the order of ids.
static int64_t gather(const Row *row, float low, float high, int64_t step) {
    int64_t n = 0, hit = 0;
    for (int64_t block = 0; block < row->num_blocks; block++) {
        if (!is_hit(row, block, row->least) || hit++ % step || !is_hit(row, block, low)) continue;
        int64_t end = block_end(row, block);
        for (int64_t i = block * BLOCK; i < end; i += LANES) {
            vf x = load_some(row->logits + i, end - i);
            if (!any((x >= low) & (x < high))) continue;
            for (int64_t j = i; j < i + LANES && j < end; j++) {
                float logit = row->logits[j];
                row->work[n] = (Candidate){logit, (int32_t)j, row->weights[j]};
                n += (logit >= low) & (logit < high);  // no branch, which nobody could predict
            }
        }
    }
    return n;
}

typedef struct { int64_t number; double weight; } Amount;

// What there is from `low` on.
static Amount amount_from(const Row *row, float low) {
    Amount found = {0, 0};
    for (int64_t block = 0; block < row->num_blocks; block++) {
        if (!is_hit(row, block, low)) continue;
        int64_t end = block_end(row, block);
        half_vd sum = {0};
        vi number = {0};
        for (int64_t i = block * BLOCK; i < end; i += LANES) {
            vi reached = load_some(row->logits + i, end - i) >= low;
            number -= reached;
            sum = added(sum, vf_select(reached, vf_load(row->weights + i), (vf){0}));
        }
        for (int lane = 0; lane < LANES; lane++) found.number += number[lane];
        found.weight += added_up(sum);
    }
    return found;
}

// Where to look first for the threshold of `first_kept`: `low` and `high` are a little beyond its place in the sample.
static void guess(const Row *row, int64_t count, double mass, float *low, float *high) {
    int64_t n = gather(row, row->least, INFINITY, SAMPLED);
    double total = 0;
    for (int64_t i = 0; i < n; i++) total += row->work[i].weight;
    double part = total / row->total, whole = n / (double)row->columns;
    double slack = 0.02 * total, places = 2 * sqrt((double)n);
    double number = count * whole, weight = mass < INFINITY ? mass * part : INFINITY;
    *high = *low = NAN;
    int64_t first = number < places + 1 || weight < slack ? 0
        : select_first(row->work, n, (int64_t)(number - places), weight - slack);
    if (first) *high = last_of(row->work, first).logit;
    first = select_first(row->work, n, (int64_t)(number + places) + 1, weight + slack);
    if (first < n) *low = last_of(row->work, first).logit;
}

// The last one of the fewest that come first and number `count`, or weigh `mass`, whichever is fewer; `kept` gets
// their weight. Narrows its logit down to [low, high), of which few are left to put in order.
static Threshold first_kept(const Row *row, int64_t count, double mass, double *kept) {
    float low = row->least, high = INFINITY, tries[2];
    Amount above = {0, 0}, all = {row->columns, row->total};
    int steps = row->columns > FEW_AT_FIRST ? 40 : 0;
    if (steps) guess(row, count, mass, &tries[0], &tries[1]);
    for (int step = 0; step < steps && all.number - above.number > FEW; step++) {
        float trial = step < 2 ? tries[step] : (float)(((double)low + (high < INFINITY ? high : row->largest)) / 2);
        if (!(trial > low && trial < high)) {
            if (step < 2) continue;
            break;
        }
        Amount amount = amount_from(row, trial);
        if (amount.number >= count || amount.weight >= mass) { low = trial; all = amount; }
        else { high = trial; above = amount; }
    }
    int64_t n = gather(row, low, high, 1);
    int64_t first = select_first(row->work, n, count - above.number, mass - above.weight);
    *kept = above.weight;
    for (int64_t i = 0; i < first; i++) *kept += row->work[i].weight;
    return last_of(row->work, first);
}

static Threshold threshold(const Row *row, int64_t top_k, double top_p) {
    int64_t count = top_k > 0 && top_k < row->vocab ? top_k : row->vocab;
    double kept = row->total;
    Threshold last = EVERYTHING;
    if (count < row->columns) last = first_kept(row, count, INFINITY, &kept);
    return top_p < 1 ? first_kept(row, count, top_p * kept, &kept) : last;
}

// Leaves the weights of what is kept, and their sums.
static void cut(Row *row, Threshold last) {
    row->total = 0;
    for (int64_t block = 0; block < row->num_blocks; block++) {
        if (row->sums[block] == 0) continue;
        half_vd sum = {0};
        int64_t end = block_end(row, block);
        for (int64_t i = block * BLOCK; i < end; i += LANES) {
            vf x = load_some(row->logits + i, end - i);
            vi kept = (x > last.logit) | ((x == last.logit) & (lane_numbers() <= (int32_t)(last.id - i)));
            vf weight = vf_select(kept, vf_load(row->weights + i), (vf){0});
            vf_store(row->weights + i, weight);
            sum = added(sum, weight);
        }
        row->sums[block] = added_up(sum);
        row->total += row->sums[block];
    }
}

// The first column at which the sum of the weights exceeds `uniform` of their whole, or the last that has one.
static int64_t draw(const Row *row, double uniform) {
    double target = uniform * row->total, before = 0;
    int64_t chosen = 0;
    for (int64_t block = 0; block < row->num_blocks; block++) {
        if (row->sums[block] == 0) continue;
        chosen = block;
        if (before + row->sums[block] > target) break;
        before += row->sums[block];
    }
    int64_t end = block_end(row, chosen);
    int is_last = before + row->sums[chosen] <= target || before >= row->total;
    for (int64_t i = chosen * BLOCK; i < end; i++) {
        if (row->weights[i] == 0) continue;
        chosen = i;
        before += row->weights[i];
        if (!is_last && before > target) break;
    }
    return chosen;
}

static int open_row(Row *row, int64_t vocab) {
    row->vocab = vocab;
    row->num_blocks = (vocab + BLOCK - 1) / BLOCK;
    // No page of these is taken before it is written.
    row->largest_of = malloc(row->num_blocks * sizeof(float));
    row->copy = malloc(row->num_blocks * sizeof(float));
    row->sums = malloc(row->num_blocks * sizeof(double));
    row->weights = malloc(row->num_blocks * BLOCK * sizeof(float));
    row->work = malloc((vocab + 1) * sizeof(Candidate));
    return row->largest_of && row->copy && row->sums && row->weights && row->work;
}

static void close_row(Row *row) {
    free(row->largest_of);
    free(row->copy);
    free(row->sums);
    free(row->weights);
    free(row->work);
}

static float below(double x) { return nextafterf((float)x, -INFINITY); }

static int64_t sample_row(Row *row, float temperature, int64_t top_k, double top_p, float min_p, double uniform) {
    if (!scan(row)) return -1;
    if (!(temperature > 0)) return first_largest(row);
    row->scale = 1.0f / temperature;
    if (!(row->scale <= 3.402823466e38f)) row->scale = 3.402823466e38f;
    row->min_p = min_p;
    row->least = below(row->largest - LEAST_WEIGHT / row->scale);
    if (min_p > 0) {
        float least = below(row->largest + (log(min_p) - 1e-5) / row->scale);
        if (least > row->least) row->least = least;
    }
    if (top_k > 0 && top_k <= row->num_blocks) {
        float least = kth_block(row, top_k);
        if (least > row->least) row->least = least;
    }
    weigh(row);
    if ((top_k > 0 && top_k < row->vocab) || top_p < 1) cut(row, threshold(row, top_k, top_p));
    return draw(row, uniform);
}

// What the rows of a call have in common; not all of it belongs to every call.
typedef struct {
    float *logits;
    int64_t vocab, num_top;
    const float *temperature, *min_p, *repetition, *presence, *frequency;
    const int64_t *top_k, *tokens, *rows, *slots;
    const double *top_p, *uniform;
    const uint32_t *allowed;
    const int32_t *history;
    int64_t *chosen, *ranks, *top_ids;
    float *logprobs, *top_logprobs;
    int failed;
} Call;

// Scratch for some rows of a call; 0 if there was no memory.
static int open_rows(Call *call, Row *row) {
    if (open_row(row, call->vocab)) return 1;
    __atomic_store_n(&call->failed, 1, __ATOMIC_RELAXED);
    close_row(row);
    return 0;
}

static void greedy_rows(void *context, long begin, long end, long thread) {
    Call *call = context;
    Row row;
    (void)thread;
    if (!open_rows(call, &row)) return;
    for (long i = begin; i < end; i++) {
        row.logits = call->logits + i * call->vocab;
        call->chosen[i] = scan(&row) ? first_largest(&row) : -1;
    }
    close_row(&row);
}

// Each returns 0, or 1 where memory ran out. Rows lie one behind the other; see ../sample.py for the arguments.
int metavox_greedy(float *logits, int64_t rows, int64_t vocab, int64_t *tokens, int threads) {
    Call call = {.logits = logits, .vocab = vocab, .chosen = tokens};
    pool_run(greedy_rows, &call, rows, 1, rows, threads);
    return call.failed;
}

static void sample_rows(void *context, long begin, long end, long thread) {
    Call *call = context;
    Row row;
    (void)thread;
    if (!open_rows(call, &row)) return;
    for (long i = begin; i < end; i++) {
        row.logits = call->logits + i * call->vocab;
        call->chosen[i] = sample_row(&row, call->temperature[i], call->top_k[i], call->top_p[i], call->min_p[i],
                                     call->uniform[i]);
    }
    close_row(&row);
}

int metavox_sample(float *logits, int64_t rows, int64_t vocab, const float *temperature, const int64_t *top_k,
                   const double *top_p, const float *min_p, const double *uniform, int64_t *tokens, int threads) {
    Call call = {
        .logits = logits, .vocab = vocab, .temperature = temperature, .top_k = top_k, .top_p = top_p,
        .min_p = min_p, .uniform = uniform, .chosen = tokens,
    };
    pool_run(sample_rows, &call, rows, 1, rows, threads);
    return call.failed;
}

static double normaliser(Row *row) {
    row->scale = 1.0f;
    row->min_p = 0.0f;
    row->least = below(row->largest - LEAST_WEIGHT);
    weigh(row);
    return log(row->total / WEIGHT_ONE);
}

static int64_t rank_of(const Row *row, float logit) {
    int64_t rank = 0;
    for (int64_t block = 0; block < row->num_blocks; block++) {
        if (!(row->largest_of[block] >= logit)) continue;
        int64_t end = block_end(row, block);
        for (int64_t i = block * BLOCK; i < end; i++) rank += row->logits[i] >= logit;
    }
    return rank;
}

static int compare(const void *left, const void *right) {
    const Candidate *a = left, *b = right;
    if (a->logit != b->logit) return a->logit > b->logit ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static void top_of(Row *row, int64_t num_top, double normal, int64_t *ids, float *logprobs) {
    row->least = num_top <= row->num_blocks ? kth_block(row, num_top) : -INFINITY;
    int64_t n = gather(row, row->least, INFINITY, 1);
    if (num_top < n) n = select_first(row->work, n, num_top, INFINITY);
    qsort(row->work, n, sizeof *row->work, compare);
    for (int64_t i = 0; i < num_top; i++) {
        ids[i] = i < n ? row->work[i].id : 0;
        logprobs[i] = i < n ? (float)((double)(row->work[i].logit - row->largest) - normal) : NAN;
    }
}

static void logprob_rows(void *context, long begin, long end, long thread) {
    Call *call = context;
    const int64_t num_top = call->num_top;
    Row row;
    (void)thread;
    if (!open_rows(call, &row)) return;
    for (long i = begin; i < end; i++) {
        row.logits = call->logits + i * call->vocab;
        scan(&row);
        double normal = normaliser(&row);
        float logit = row.logits[call->tokens[i] < 0 ? 0 : call->tokens[i]];
        call->logprobs[i] = (float)((double)(logit - row.largest) - normal);
        call->ranks[i] = rank_of(&row, logit);
        if (num_top) top_of(&row, num_top, normal, call->top_ids + i * num_top, call->top_logprobs + i * num_top);
    }
    close_row(&row);
}

int metavox_token_logprobs(float *logits, int64_t rows, int64_t vocab, const int64_t *tokens, int64_t num_top,
                           float *logprobs, int64_t *ranks, int64_t *top_ids, float *top_logprobs, int threads) {
    Call call = {
        .logits = logits, .vocab = vocab, .tokens = tokens, .num_top = num_top, .logprobs = logprobs,
        .ranks = ranks, .top_ids = top_ids, .top_logprobs = top_logprobs,
    };
    pool_run(logprob_rows, &call, rows, 1, rows, threads);
    return call.failed;
}

static void mask_rows(void *context, long begin, long end, long thread) {
    const Call *call = context;
    const int64_t vocab = call->vocab, words = (vocab + 31) / 32;
    (void)thread;
    for (long i = begin; i < end; i++) {
        float *row = call->logits + call->rows[i] * vocab;
        for (int64_t word = 0; word < words; word++) {
            uint32_t bits = call->allowed[i * words + word];
            if (bits == UINT32_MAX) continue;
            int64_t last = word * 32 + 32 < vocab ? 32 : vocab - word * 32;
            for (int64_t j = 0; j < last; j++) row[word * 32 + j] = bits >> j & 1 ? row[word * 32 + j] : -INFINITY;
        }
    }
}

void metavox_mask_logits(float *logits, int64_t vocab, const int64_t *rows, int64_t num_masks, const uint32_t *allowed,
                         int threads) {
    Call call = {.logits = logits, .vocab = vocab, .rows = rows, .allowed = allowed};
    pool_run(mask_rows, &call, num_masks, 1, num_masks, threads);
}

static void penalize_rows(void *context, long begin, long end, long thread) {
    const Call *call = context;
    const int64_t vocab = call->vocab;
    (void)thread;
    for (long i = begin; i < end; i++) {
        float *row = call->logits + call->rows[i] * vocab;
        const int32_t *seen = call->history + call->slots[i] * vocab;
        for (int64_t start = 0; start < vocab; start += BLOCK) {
            int64_t last = start + BLOCK < vocab ? start + BLOCK : vocab;
            int32_t some = 0;
            for (int64_t j = start; j < last; j++) some |= seen[j];
            if (!some) continue;
            for (int64_t j = start; j < last; j++) {
                if (!seen[j]) continue;
                float x = row[j] > 0 ? row[j] / call->repetition[i] : row[j] * call->repetition[i];
                x = x - call->frequency[i] * (float)(seen[j] >> 1);
                row[j] = x - call->presence[i] * (float)(seen[j] > 1);
            }
        }
    }
}

void metavox_penalize(float *logits, int64_t vocab, int64_t num_rows, const int64_t *rows, const int32_t *history,
                      const int64_t *slots, const float *repetition, const float *presence, const float *frequency,
                      int threads) {
    Call call = {
        .logits = logits, .vocab = vocab, .rows = rows, .history = history, .slots = slots,
        .repetition = repetition, .presence = presence, .frequency = frequency,
    };
    pool_run(penalize_rows, &call, num_rows, 1, num_rows, threads);
}
