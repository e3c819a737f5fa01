/* The hot path in C: a record becomes a frame of the journal without a step through the interpreter.
 *
 * It does what `hot_path.py` does, for the records that training loops log, and gives all others to it. Both write
 * the same bytes: a frame of docs/journal-format.md, an announced key set's number, the values, the step.
 *
 * Three kinds of objects:
 *
 *   Map    the mapped file of a segment, and the one position in it. Both paths write through it: `write` is what
 *          `mmap.write` is to the Python path. It has its own type since an object that holds a buffer of Python's
 *          mmap keeps it from being closed, and since its position cannot be reached from outside.
 *   Core   what the calls of one recorder share: the next record's number, the map in use with its nonce, and the key
 *          sets that were announced in it. `use` changes the map and forgets the key sets, in one step. A key set is
 *          learned under the token that was in use when it was announced, so that a number never goes into a
 *          segment that does not know it.
 *   Log    what the user calls: `run.log`, or a writer's `add`. An instance of a type with a vectorcall, not a built-in
 *          function: it has a `__dict__`, for what torch.compile and `inspect` look for, and can be weakly held.
 *
 * What holds everything together is the lock of the interpreter (GIL). A call goes through three stages:
 *
 *   1. Encode into a buffer on the call's own stack. Nothing but exact types is read here: dict, str for keys; float,
 *      int, bool and the numpy scalars whose layout was examined for values. None of it can run code of the program,
 *      so the dict cannot change meanwhile. Anything else: the stage returns 0, nothing has happened yet, and the
 *      Python path is called with the very same arguments.
 *   2. Commit: read the position, see that the frame fits and that this process is the one that made the map, take
 *      the clock and the number, checksum, copy, move the position. No Python API is called here, nothing is allocated
 *      or released: no other thread, no signal handler and no finalizer of Python can come in between. A kill in
 *      the middle leaves a frame whose checksum is wrong, as a kill in the middle of `mmap.write` does.
 *   3. Return None.
 *
 * A fork: the child shares the parent's map. A handler that the C library calls in the child, before anything of Python
 * runs there, notes its process id, and a map that another process made takes nothing.
 *
 * A full segment, a closed or sealed one, a fork under way, a disk without room: the commit refuses, and the Python
 * path finds out what to do. It is slower and has all the time it needs.
 *
 * Not for an interpreter without the GIL: there the Python path runs, under a lock.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifdef Py_GIL_DISABLED
#error "the native hot path relies on the GIL: a free-threaded interpreter takes the Python path"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "written for little-endian machines: others take the Python path"
#endif

#define API 1                   /* what native.py expects */
#define HEAD 8                  /* length and checksum, before the body */
#define VALUES (HEAD + 24)      /* the array's mark, stamp, number and key set take 24 bytes of the body */
#define SMALL_BYTES 2048
#define LARGE_BYTES 16384       /* a longer frame takes the Python path */
#define VALUE_BYTES 9           /* at most */
#define KEYS_IN(bytes) (((bytes) - VALUES - 3 - VALUE_BYTES) / VALUE_BYTES)
#define RECENT 64
#define KINDS 16
#define POPULATE_WRITE 23       /* MADV_POPULATE_WRITE, Linux 5.14 */

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))

/* -- checksums ------------------------------------------------------------------------------------------------- */

typedef uint32_t (*Checksum)(const uint8_t *, size_t, uint32_t);

static uint32_t table[256];

static void make_table(void) {
    for (uint32_t at = 0; at < 256; at++) {
        uint32_t value = at;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? (value >> 1) ^ 0x82F63B78u : value >> 1;
        table[at] = value;
    }
}

static uint32_t crc_by_table(const uint8_t *bytes, size_t count, uint32_t seed) {
    uint32_t crc = ~seed;
    while (count--)
        crc = (crc >> 8) ^ table[(crc ^ *bytes++) & 0xFF];
    return ~crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>
__attribute__((target("sse4.2"))) static uint32_t crc_by_processor(const uint8_t *bytes, size_t count, uint32_t seed) {
    uint64_t crc = (uint32_t)~seed;
    for (; count >= 8; bytes += 8, count -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        crc = _mm_crc32_u64(crc, word);
    }
    while (count--)
        crc = _mm_crc32_u8((uint32_t)crc, *bytes++);
    return ~(uint32_t)crc;
}
static int processor_has_crc(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2");
}
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
__attribute__((target("+crc"))) static uint32_t crc_by_processor(const uint8_t *bytes, size_t count, uint32_t seed) {
    uint32_t crc = ~seed;
    for (; count >= 8; bytes += 8, count -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        crc = __crc32cd(crc, word);
    }
    while (count--)
        crc = __crc32cb(crc, *bytes++);
    return ~crc;
}
static int processor_has_crc(void) { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }
#else
#define crc_by_processor crc_by_table
static int processor_has_crc(void) { return 0; }
#endif

static Checksum checksum = crc_by_table;

/* -- whose process this is ------------------------------------------------------------------------------------- */

static pid_t here; /* this process's id, without a system call */

static void in_child(void) { here = getpid(); }

/* -- msgpack --------------------------------------------------------------------------------------------------- */

INLINE uint8_t *put_16(uint8_t *at, uint8_t mark, uint16_t value) {
    *at = mark;
    value = __builtin_bswap16(value);
    memcpy(at + 1, &value, 2);
    return at + 3;
}

INLINE uint8_t *put_32(uint8_t *at, uint8_t mark, uint32_t value) {
    *at = mark;
    value = __builtin_bswap32(value);
    memcpy(at + 1, &value, 4);
    return at + 5;
}

INLINE uint8_t *put_64(uint8_t *at, uint8_t mark, uint64_t value) {
    *at = mark;
    value = __builtin_bswap64(value);
    memcpy(at + 1, &value, 8);
    return at + 9;
}

static uint8_t *put_whole(uint8_t *at, uint64_t value) {
    if (value < 128) {
        *at = (uint8_t)value;
        return at + 1;
    }
    if (value < 256) {
        at[0] = 0xcc;
        at[1] = (uint8_t)value;
        return at + 2;
    }
    if (value < 65536)
        return put_16(at, 0xcd, (uint16_t)value);
    return value <= UINT32_MAX ? put_32(at, 0xce, (uint32_t)value) : put_64(at, 0xcf, value);
}

static uint8_t *put_integer(uint8_t *at, int64_t value) {
    if (value >= 0)
        return put_whole(at, (uint64_t)value);
    if (value >= -32) {
        *at = (uint8_t)value;
        return at + 1;
    }
    if (value >= INT8_MIN) {
        at[0] = 0xd0;
        at[1] = (uint8_t)value;
        return at + 2;
    }
    if (value >= INT16_MIN)
        return put_16(at, 0xd1, (uint16_t)value);
    return value >= INT32_MIN ? put_32(at, 0xd2, (uint32_t)value) : put_64(at, 0xd3, (uint64_t)value);
}

INLINE uint8_t *put_double(uint8_t *at, double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return put_64(at, 0xcb, bits);
}

static double from_half(uint16_t half) {
    uint64_t sign = (uint64_t)(half & 0x8000) << 48, exponent = (half >> 10) & 31, rest = half & 1023, bits;
    double value;
    if (exponent == 0) {
        value = (double)rest / 16777216.0; /* 2 to the 24th */
        return half & 0x8000 ? -value : value;
    }
    bits = sign | (exponent == 31 ? 0x7FFull << 52 : (exponent + 1008) << 52) | rest << 42;
    memcpy(&value, &bits, 8);
    return value;
}

/* -- numpy's scalars ------------------------------------------------------------------------------------------- */

/* A numpy scalar is an object's head and the number behind it. `examine` lets a type in after it has found known values
 * of it encoded as their Python twins are. */

typedef struct {
    PyTypeObject *type;
    char code; /* of the struct module, with e for a half and ? for a bool */
} Kind;

typedef struct {
    PyTypeObject *map_type, *core_type, *log_type;
    PyObject *word_step;
    int kinds;
    Kind kind[KINDS];
} State;

#define NUMBER(type) (*(const type *)((const char *)value + sizeof(PyObject)))

APART uint8_t *put_scalar(uint8_t *at, PyObject *value, const State *state) {
    PyTypeObject *type = Py_TYPE(value);
    for (const Kind *kind = state->kind, *end = kind + state->kinds; kind < end; kind++) {
        if (kind->type != type)
            continue;
        switch (kind->code) {
        case 'f': return put_double(at, (double)NUMBER(float));
        case 'd': return put_double(at, NUMBER(double));
        case 'e': return put_double(at, from_half(NUMBER(uint16_t)));
        case '?': *at = NUMBER(uint8_t) ? 0xc3 : 0xc2; return at + 1;
        case 'b': return put_integer(at, NUMBER(int8_t));
        case 'h': return put_integer(at, NUMBER(int16_t));
        case 'i': return put_integer(at, NUMBER(int32_t));
        case 'q': return put_integer(at, NUMBER(int64_t));
        case 'B': return put_whole(at, NUMBER(uint8_t));
        case 'H': return put_whole(at, NUMBER(uint16_t));
        case 'I': return put_whole(at, NUMBER(uint32_t));
        case 'Q': return put_whole(at, NUMBER(uint64_t));
        default: return NULL;
        }
    }
    return NULL;
}

static Py_ssize_t size_of(char code) {
    switch (code) {
    case '?': case 'b': case 'B': return 1;
    case 'e': case 'h': case 'H': return 2;
    case 'f': case 'i': case 'I': return 4;
    case 'd': case 'q': case 'Q': return 8;
    default: return 0;
    }
}

/* An exact int; NULL: it has more than 64 bits. Small ones, of one digit, cost no call into the interpreter's library,
 * whose code a step of training has driven out of the caches. */
INLINE uint8_t *put_int(uint8_t *at, PyObject *value) {
    long long number;
#if PY_VERSION_HEX >= 0x030C0000
    if (likely(PyUnstable_Long_IsCompact((PyLongObject *)value)))
        number = PyUnstable_Long_CompactValue((PyLongObject *)value);
#else
    Py_ssize_t digits = Py_SIZE(value);
    if (likely(digits >= -1 && digits <= 1))
        number = digits * (long long)((PyLongObject *)value)->ob_digit[0];
#endif
    else {
        int beyond;
        number = PyLong_AsLongLongAndOverflow(value, &beyond);
        if (beyond)
            return NULL;
    }
    return put_integer(at, number);
}

INLINE uint8_t *put_value(uint8_t *at, PyObject *value, const State *state) {
    PyTypeObject *type = Py_TYPE(value);
    if (likely(type == &PyFloat_Type))
        return put_double(at, PyFloat_AS_DOUBLE(value));
    if (type == &PyLong_Type)
        return put_int(at, value);
    if (type == &PyBool_Type) {
        *at = value == Py_True ? 0xc3 : 0xc2;
        return at + 1;
    }
    return put_scalar(at, value, state);
}

INLINE uint8_t *put_step(uint8_t *at, PyObject *step) {
    if (step == Py_None) {
        *at = 0xc0;
        return at + 1;
    }
    return Py_TYPE(step) == &PyLong_Type ? put_int(at, step) : NULL;
}

/* -- the map --------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    uint8_t *base; /* NULL: closed */
    size_t size, pos;
    pid_t owner;
} Map;

static PyObject *Map_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fd", "size", NULL};
    int fd, failed;
    Py_ssize_t size;
    void *base;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "in", names, &fd, &size))
        return NULL;
    if (size <= 0)
        return PyErr_Format(PyExc_ValueError, "a map of %zd bytes", size);
    Py_BEGIN_ALLOW_THREADS
    base = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    failed = base == MAP_FAILED;
    /* Every page now: the first touch of a fresh page costs more than the record. */
    if (!failed && madvise(base, (size_t)size, POPULATE_WRITE) != 0) {
        long page = sysconf(_SC_PAGESIZE);
        for (Py_ssize_t at = 0; at < size; at += page)
            ((volatile uint8_t *)base)[at] = 0; /* the file is new: zeros */
    }
    Py_END_ALLOW_THREADS
    if (failed)
        return PyErr_SetFromErrno(PyExc_OSError);
    Map *self = (Map *)type->tp_alloc(type, 0);
    if (self == NULL) {
        munmap(base, (size_t)size);
        return NULL;
    }
    self->base = base;
    self->size = (size_t)size;
    self->pos = 0;
    self->owner = here;
    return (PyObject *)self;
}

static void Map_unmap(Map *self) {
    uint8_t *base = self->base;
    size_t size = self->size;
    self->base = NULL;
    self->size = self->pos = 0; /* nothing fits any more */
    if (base != NULL)
        munmap(base, size);
}

static void Map_dealloc(Map *self) {
    PyTypeObject *type = Py_TYPE(self);
    Map_unmap(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *Map_close(Map *self, PyObject *Py_UNUSED(ignored)) {
    Map_unmap(self);
    Py_RETURN_NONE;
}

static int Map_is_closed(Map *self) {
    if (self->base != NULL)
        return 0;
    PyErr_SetString(PyExc_ValueError, "the map is closed");
    return 1;
}

static PyObject *Map_write(Map *self, PyObject *data) {
    Py_buffer buffer;
    int taken = 0;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0)
        return NULL;
    if (self->owner == here && (size_t)buffer.len <= self->size - self->pos && self->base != NULL) {
        memcpy(self->base + self->pos, buffer.buf, (size_t)buffer.len);
        self->pos += (size_t)buffer.len;
        taken = 1;
    }
    PyBuffer_Release(&buffer);
    if (taken)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "the map is full, closed, or another process's");
    return NULL;
}

static PyObject *Map_tell(Map *self, PyObject *Py_UNUSED(ignored)) {
    return Map_is_closed(self) ? NULL : PyLong_FromSize_t(self->pos);
}

static PyObject *Map_seek(Map *self, PyObject *where) {
    Py_ssize_t pos = PyLong_AsSsize_t(where);
    if (pos == -1 && PyErr_Occurred())
        return NULL;
    if (Map_is_closed(self))
        return NULL;
    if (pos < 0 || (size_t)pos > self->size)
        return PyErr_Format(PyExc_ValueError, "%zd is not in the map", pos);
    self->pos = (size_t)pos;
    Py_RETURN_NONE;
}

static Py_ssize_t Map_length(Map *self) { return (Py_ssize_t)self->size; }

/* A slice's first byte and count; -1 with an exception set. The map may close while the slice's ends are read. */
static Py_ssize_t Map_slice(Map *self, PyObject *item, Py_ssize_t *start) {
    Py_ssize_t stop, step;
    if (!PySlice_Check(item)) {
        PyErr_SetString(PyExc_TypeError, "a map is read and written by slices");
        return -1;
    }
    if (PySlice_Unpack(item, start, &stop, &step) < 0 || Map_is_closed(self))
        return -1;
    if (step != 1) {
        PyErr_SetString(PyExc_ValueError, "a slice of a map has no step");
        return -1;
    }
    return PySlice_AdjustIndices((Py_ssize_t)self->size, start, &stop, 1);
}

static PyObject *Map_get(Map *self, PyObject *item) {
    Py_ssize_t start, count = Map_slice(self, item, &start);
    return count < 0 ? NULL : PyBytes_FromStringAndSize((const char *)self->base + start, count);
}

static int Map_set(Map *self, PyObject *item, PyObject *value) {
    Py_ssize_t start, count;
    Py_buffer buffer;
    int done = -1;
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "nothing can be taken out of a map");
        return -1;
    }
    if (PyObject_GetBuffer(value, &buffer, PyBUF_SIMPLE) < 0)
        return -1;
    count = Map_slice(self, item, &start);
    if (count >= 0 && count != buffer.len)
        PyErr_Format(PyExc_ValueError, "%zd bytes for a slice of %zd", buffer.len, count);
    else if (count >= 0) {
        memcpy(self->base + start, buffer.buf, (size_t)count);
        done = 0;
    }
    PyBuffer_Release(&buffer);
    return done;
}

static PyObject *Map_foreign(Map *self, void *Py_UNUSED(closure)) { return PyBool_FromLong(self->owner != here); }

static PyObject *Map_closed(Map *self, void *Py_UNUSED(closure)) { return PyBool_FromLong(self->base == NULL); }

static PyMethodDef Map_methods[] = {
    {"write", (PyCFunction)Map_write, METH_O, "Copy these bytes to the position and move it; ValueError: no room."},
    {"tell", (PyCFunction)Map_tell, METH_NOARGS, "The position."},
    {"seek", (PyCFunction)Map_seek, METH_O, "Move the position."},
    {"close", (PyCFunction)Map_close, METH_NOARGS, "Unmap; every later use but this raises ValueError."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef Map_members[] = {
    {"closed", (getter)Map_closed, NULL, "Whether it is unmapped.", NULL},
    {"foreign", (getter)Map_foreign, NULL, "Whether another process made it: this one is a forked child.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot Map_slots[] = {
    {Py_tp_doc, "A file mapped for writing, and the position in it."},
    {Py_tp_new, Map_new},
    {Py_tp_dealloc, Map_dealloc},
    {Py_tp_methods, Map_methods},
    {Py_tp_getset, Map_members},
    {Py_mp_length, Map_length},
    {Py_mp_subscript, Map_get},
    {Py_mp_ass_subscript, Map_set},
    {0, NULL},
};
static PyType_Spec Map_spec = {
    "steno.journal._native.Map", sizeof(Map), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, Map_slots,
};

/* -- the core -------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject *keys;  /* a tuple of exact, distinct strings */
    PyObject *scope; /* whose options the set was announced with; NULL: none */
    uint64_t mark;   /* of scope and keys, in their order */
    uint32_t number;
} Plan;

typedef struct {
    PyObject_HEAD
    Map *map; /* NULL: everything takes the Python path */
    const State *state;
    uint64_t seq; /* the next record's */
    uint32_t nonce;
    uint32_t count, room;    /* plans there are, plans there is room for */
    uint32_t *slots;         /* a hash table of 2 × room: a plan's place + 1, or 0 */
    Plan *plans;
    PyObject *token;         /* of the generation of key sets */
    uint32_t recent[RECENT][2]; /* by number of keys: the place + 1 of the plan found last, and of the one before */
} Core;

INLINE uint64_t mixed(uint64_t mark, uint64_t hash) {
    mark = (mark ^ hash) * 0x9E3779B97F4A7C15ull;
    return mark ^ mark >> 29;
}

INLINE uint64_t mark_of_scope(const PyObject *scope) { return mixed(0x2545F4914F6CDD1Dull, (uintptr_t)scope); }

/* A string's hash; every key of a dict has its own ready. */
INLINE uint64_t hash_of(PyObject *key) {
    Py_hash_t hash = ((PyASCIIObject *)key)->hash;
    return (uint64_t)(hash != -1 ? hash : PyObject_Hash(key));
}

/* Whether two exact strings say the same. */
APART int is_same_text(PyObject *one, PyObject *other) {
    return PyUnicode_GET_LENGTH(one) == PyUnicode_GET_LENGTH(other) && PyUnicode_KIND(one) == PyUnicode_KIND(other) &&
           memcmp(PyUnicode_DATA(one), PyUnicode_DATA(other),
                  (size_t)PyUnicode_GET_LENGTH(one) * PyUnicode_KIND(one)) == 0;
}

INLINE int is_text(PyObject *key) { return PyUnicode_CheckExact(key) && PyUnicode_IS_READY(key); }

INLINE int is_key(PyObject *key, PyObject *wanted) {
    return likely(key == wanted) || (is_text(key) && is_same_text(key, wanted));
}

static void free_plans(Plan *plans, uint32_t count, uint32_t *slots) {
    for (uint32_t at = 0; at < count; at++) {
        Py_DECREF(plans[at].keys);
        Py_XDECREF(plans[at].scope);
    }
    PyMem_Free(plans);
    PyMem_Free(slots);
}

static PyObject *Core_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"first", NULL};
    unsigned long long first;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "K", names, &first))
        return NULL;
    Core *self = (Core *)type->tp_alloc(type, 0); /* all zeros */
    if (self == NULL)
        return NULL;
    self->state = PyType_GetModuleState(type);
    self->seq = first;
    return (PyObject *)self;
}

static int Core_traverse(Core *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->map);
    Py_VISIT(self->token);
    for (uint32_t at = 0; at < self->count; at++) {
        Py_VISIT(self->plans[at].keys);
        Py_VISIT(self->plans[at].scope);
    }
    return 0;
}

/* Write into this map from now on, or, without one, nowhere; key sets of another token are forgotten. What is
 * released goes last: it may run code of the program, which may log. */
static void Core_turn(Core *self, PyObject *token, Map *map, uint32_t nonce) {
    Map *old_map = self->map;
    PyObject *old_token = NULL;
    Plan *plans = NULL;
    uint32_t *slots = NULL;
    uint32_t count = 0;
    if (token != self->token) {
        plans = self->plans, slots = self->slots, count = self->count;
        old_token = self->token;
        self->plans = NULL, self->slots = NULL, self->count = self->room = 0;
        memset(self->recent, 0, sizeof self->recent);
        self->token = Py_XNewRef(token);
    }
    self->map = (Map *)Py_XNewRef((PyObject *)map);
    self->nonce = nonce;
    Py_XDECREF(old_map);
    Py_XDECREF(old_token);
    free_plans(plans, count, slots);
}

static int Core_clear(Core *self) {
    Core_turn(self, NULL, NULL, 0);
    return 0;
}

static void Core_dealloc(Core *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Core_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *Core_next(Core *self, PyObject *Py_UNUSED(ignored)) {
    return PyLong_FromUnsignedLongLong(self->seq++);
}

static PyObject *Core_last(Core *self, void *Py_UNUSED(closure)) { return PyLong_FromUnsignedLongLong(self->seq - 1); }

static PyObject *Core_use(Core *self, PyObject *const *args, Py_ssize_t count) {
    Map *map = NULL;
    unsigned long nonce;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "use(token, write, nonce)");
        return NULL;
    }
    nonce = PyLong_AsUnsignedLong(args[2]);
    if (PyErr_Occurred())
        return NULL;
    /* The `write` of a map and nothing else: what stands before it, a guard, is to be asked first. */
    if (PyCFunction_CheckExact(args[1]) && PyCFunction_GET_FUNCTION(args[1]) == (PyCFunction)Map_write)
        map = (Map *)PyCFunction_GET_SELF(args[1]);
    Core_turn(self, args[0], map, (uint32_t)nonce);
    return PyBool_FromLong(map != NULL);
}

static void enter(Core *self, uint32_t place) {
    uint32_t mask = 2 * self->room - 1, at = (uint32_t)self->plans[place].mark & mask;
    while (self->slots[at])
        at = (at + 1) & mask;
    self->slots[at] = place + 1;
}

static PyObject *Core_learn(Core *self, PyObject *const *args, Py_ssize_t count) {
    unsigned long number;
    if (count != 4 || !PyTuple_CheckExact(args[2])) {
        PyErr_SetString(PyExc_TypeError, "learn(token, scope, keys, number)");
        return NULL;
    }
    number = PyLong_AsUnsignedLong(args[3]);
    if (PyErr_Occurred())
        return NULL;
    PyObject *keys = args[2], *scope = args[1] == Py_None ? NULL : args[1];
    Py_ssize_t width = PyTuple_GET_SIZE(keys);
    uint64_t mark = mark_of_scope(scope);
    if (args[0] != self->token || width < 1 || width > KEYS_IN(LARGE_BYTES))
        Py_RETURN_FALSE;
    for (Py_ssize_t at = 0; at < width; at++) {
        PyObject *key = PyTuple_GET_ITEM(keys, at);
        if (!is_text(key))
            Py_RETURN_FALSE;
        mark = mixed(mark, hash_of(key));
    }
    if (self->count == self->room) {
        uint32_t room = self->room ? 2 * self->room : 16;
        Plan *plans = PyMem_Realloc(self->plans, room * sizeof *plans);
        if (plans == NULL)
            return PyErr_NoMemory();
        self->plans = plans;
        uint32_t *slots = PyMem_Calloc(2 * (size_t)room, sizeof *slots);
        if (slots == NULL)
            return PyErr_NoMemory();
        PyMem_Free(self->slots);
        self->slots = slots;
        self->room = room;
        for (uint32_t place = 0; place < self->count; place++)
            enter(self, place);
    }
    self->plans[self->count] = (Plan){Py_NewRef(keys), Py_XNewRef(scope), mark, (uint32_t)number};
    enter(self, self->count++);
    Py_RETURN_TRUE;
}

/* -- the call -------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    Core *core;
    PyObject *twin; /* the Python path */
    PyObject *scope;
    PyObject *dict, *weak;
} Log;

/* At least 16 bytes, without a call into the C library. */
INLINE void copy(uint8_t *to, const uint8_t *from, size_t count) {
    for (size_t at = 0; at + 16 < count; at += 16)
        memcpy(to + at, from + at, 16);
    memcpy(to + count - 16, from + count - 16, 16);
}

/* Have the memory that the commit will write to, and that it will not reach before, on its way into the cache. */
INLINE void expect(const Core *core, Py_ssize_t width) {
    uintptr_t at = (uintptr_t)core->map->base + core->map->pos, count = VALUES + (width < 64 ? width : 64) * VALUE_BYTES;
    for (uintptr_t end = at + count; at < end; at += 64)
        __builtin_prefetch((const void *)at, 1);
}

/* Stage 2. Everything up to the return happens without the interpreter. */
INLINE int commit(Core *core, uint8_t *frame, const uint8_t *end, uint32_t number) {
    Map *map = core->map;
    size_t size = (size_t)(end - frame), pos = map->pos;
    struct timespec now;
    uint64_t stamp;
    uint32_t head[2];
    if (unlikely(size > map->size - pos || map->owner != here))
        return 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    stamp = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    frame[HEAD] = 0x95;
    put_64(frame + HEAD + 1, 0xcf, stamp);
    put_64(frame + HEAD + 10, 0xcf, core->seq);
    put_32(frame + HEAD + 19, 0xce, number);
    head[0] = (uint32_t)(size - HEAD);
    head[1] = checksum(frame + HEAD, size - HEAD, core->nonce);
    memcpy(frame, head, HEAD);
    copy(map->base + pos, frame, size);
    map->pos = pos + size;
    core->seq++;
    return 1;
}

/* The place + 1 of the key set with this mark and these keys; 0: it is not known here. */
APART uint32_t found(const Core *core, PyObject *data, Py_ssize_t width) {
    uint64_t mark = mark_of_scope(NULL);
    uint32_t mask = 2 * core->room - 1, slot;
    Py_ssize_t at = 0;
    PyObject *key, *value;
    if (core->count == 0)
        return 0;
    while (PyDict_Next(data, &at, &key, &value)) {
        if (!is_text(key))
            return 0;
        mark = mixed(mark, hash_of(key));
    }
    for (uint32_t look = (uint32_t)mark & mask; (slot = core->slots[look]) != 0; look = (look + 1) & mask) {
        const Plan *plan = &core->plans[slot - 1];
        if (plan->mark != mark || plan->scope != NULL || PyTuple_GET_SIZE(plan->keys) != width)
            continue;
        Py_ssize_t place = 0;
        at = 0;
        while (PyDict_Next(data, &at, &key, &value) && is_key(key, PyTuple_GET_ITEM(plan->keys, place)))
            place++;
        if (place == width)
            return slot;
    }
    return 0;
}

/* The values of a dict that has these keys in any order, in the keys' order; NULL: it has not, or not ours. */
APART uint8_t *put_looked_up(uint8_t *out, PyObject *data, PyObject *keys, const State *state) {
    Py_ssize_t at = 0, width = PyTuple_GET_SIZE(keys);
    PyObject *key, *value;
    while (PyDict_Next(data, &at, &key, &value))
        if (!is_text(key)) /* another kind of key may have an `__eq__`, which a look-up would call */
            return NULL;
    for (Py_ssize_t place = 0; place < width && out != NULL; place++) {
        value = PyDict_GetItemWithError(data, PyTuple_GET_ITEM(keys, place));
        out = value == NULL ? NULL : put_value(out, value, state);
    }
    return out;
}

/* The values of a dict whose keys are these in their order; NULL: they are not. *odd: a value is not ours. */
INLINE uint8_t *put_in_order(uint8_t *out, PyObject *data, PyObject *keys, const State *state, int *odd) {
    PyObject *key, *value, *const *wanted = &PyTuple_GET_ITEM(keys, 0);
    Py_ssize_t at = 0;
    while (PyDict_Next(data, &at, &key, &value)) {
        if (unlikely(!is_key(key, *wanted++)))
            return NULL;
        out = put_value(out, value, state);
        if (unlikely(out == NULL)) {
            *odd = 1;
            return NULL;
        }
    }
    return out;
}

INLINE int fits(const Core *core, uint32_t place, Py_ssize_t width) {
    return place != 0 && PyTuple_GET_SIZE(core->plans[place - 1].keys) == width;
}

/* Stages 1 and 2; 0: nothing has happened. */
INLINE int record(Core *core, PyObject *data, Py_ssize_t width, PyObject *step, uint8_t *frame) {
    const State *state = core->state;
    uint32_t *recent = core->recent[width % RECENT], place = recent[0];
    uint8_t *values = frame + VALUES, *out = NULL;
    int odd = 0;
    if (width >= 16)
        values = put_16(values, 0xdc, (uint16_t)width);
    else if (width > 1)
        *values++ = (uint8_t)(0x90 | width);
    if (likely(fits(core, place, width)))
        out = put_in_order(values, data, core->plans[place - 1].keys, state, &odd);
    if (unlikely(out == NULL)) {
        if (odd)
            return 0;
        /* Two key sets in turn are as common as one: train and val. */
        place = recent[1];
        if (fits(core, place, width))
            out = put_in_order(values, data, core->plans[place - 1].keys, state, &odd);
        if (out == NULL && !odd && (place = found(core, data, width)) != 0)
            out = put_in_order(values, data, core->plans[place - 1].keys, state, &odd);
        else if (out == NULL && !odd && fits(core, place = recent[0], width))
            /* Not a set of its own: the one before, in another order? */
            out = put_looked_up(values, data, core->plans[place - 1].keys, state);
        if (out == NULL)
            return 0;
        if (place != recent[0]) {
            recent[1] = recent[0];
            recent[0] = place;
        }
    }
    out = put_step(out, step);
    return likely(out != NULL) && commit(core, frame, out, core->plans[place - 1].number);
}

/* Two sizes of buffer: the large one costs a touch of each of its pages. */
static int small_record(Core *core, PyObject *data, Py_ssize_t width, PyObject *step) {
    uint8_t frame[SMALL_BYTES];
    return record(core, data, width, step, frame);
}

APART int large_record(Core *core, PyObject *data, Py_ssize_t width, PyObject *step) {
    uint8_t frame[LARGE_BYTES];
    return record(core, data, width, step, frame);
}

APART PyObject *by_twin(Log *self, PyObject *const *args, size_t flags, PyObject *names) {
    if (self->twin == NULL) { /* the garbage collector has been here */
        PyErr_SetString(PyExc_ReferenceError, "the run is gone");
        return NULL;
    }
    return PyObject_Vectorcall(self->twin, args, flags, names);
}

/* The step among arguments given by name; NULL: something that the fast path does not know. */
APART PyObject *named_step(const State *state, PyObject *const *args, Py_ssize_t given, PyObject *names) {
    PyObject *step = given == 2 ? args[1] : Py_None;
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(names); at++) {
        PyObject *name = PyTuple_GET_ITEM(names, at), *value = args[given + at];
        if (given != 1 || !is_key(name, state->word_step))
            return NULL;
        step = value;
    }
    return step;
}

static PyObject *log_call(PyObject *callable, PyObject *const *args, size_t flags, PyObject *names) {
    Log *self = (Log *)callable;
    Core *core = self->core;
    Py_ssize_t given = PyVectorcall_NARGS(flags), width;
    PyObject *step = Py_None;
    if (unlikely(core == NULL || core->map == NULL || given < 1 || given > 2 || !PyDict_CheckExact(args[0])))
        return by_twin(self, args, flags, names);
    if (names != NULL) {
        step = named_step(core->state, args, given, names);
        if (step == NULL)
            return by_twin(self, args, flags, names);
    } else if (given == 2)
        step = args[1];
    width = PyDict_GET_SIZE(args[0]);
    expect(core, width);
    if (likely(width <= KEYS_IN(SMALL_BYTES) && width > 0)) {
        if (likely(small_record(core, args[0], width, step)))
            Py_RETURN_NONE;
    } else if (width > 0 && width <= KEYS_IN(LARGE_BYTES) && large_record(core, args[0], width, step))
        Py_RETURN_NONE;
    return by_twin(self, args, flags, names);
}

static int add_one(Core *core, PyObject *scope, PyObject *key, PyObject *value, PyObject *step) {
    uint8_t frame[VALUES + 2 * VALUE_BYTES], *out;
    uint64_t mark = mixed(mark_of_scope(scope), hash_of(key));
    uint32_t mask = 2 * core->room - 1, slot;
    if (core->count == 0)
        return 0;
    for (uint32_t look = (uint32_t)mark & mask; (slot = core->slots[look]) != 0; look = (look + 1) & mask) {
        const Plan *plan = &core->plans[slot - 1];
        if (plan->mark != mark || plan->scope != scope || PyTuple_GET_SIZE(plan->keys) != 1 ||
            !is_key(key, PyTuple_GET_ITEM(plan->keys, 0)))
            continue;
        out = put_value(frame + VALUES, value, core->state);
        out = out == NULL ? NULL : put_step(out, step);
        return out != NULL && commit(core, frame, out, plan->number);
    }
    return 0;
}

static PyObject *add_call(PyObject *callable, PyObject *const *args, size_t flags, PyObject *names) {
    Log *self = (Log *)callable;
    Core *core = self->core;
    Py_ssize_t given = PyVectorcall_NARGS(flags);
    if (likely(core != NULL && core->map != NULL && names == NULL && (given == 2 || given == 3) && is_text(args[0])))
        if (likely(add_one(core, self->scope, args[0], args[1], given == 3 ? args[2] : Py_None)))
            Py_RETURN_NONE;
    return by_twin(self, args, flags, names);
}

static int Log_traverse(Log *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->core);
    Py_VISIT(self->twin);
    Py_VISIT(self->scope);
    Py_VISIT(self->dict);
    return 0;
}

static int Log_clear(Log *self) {
    Py_CLEAR(self->core);
    Py_CLEAR(self->twin);
    Py_CLEAR(self->scope);
    Py_CLEAR(self->dict);
    return 0;
}

static void Log_dealloc(Log *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weak != NULL)
        PyObject_ClearWeakRefs((PyObject *)self);
    Log_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

/* As of a function: there is one, and a copy is it. */
static PyObject *Log_copy(PyObject *self, PyObject *Py_UNUSED(memo)) { return Py_NewRef(self); }

static PyMethodDef Log_methods[] = {
    {"__copy__", Log_copy, METH_NOARGS, NULL},
    {"__deepcopy__", Log_copy, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef Log_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Log, call), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(Log, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Log, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef Log_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot Log_slots[] = {
    {Py_tp_doc, "Records what it is called with; `__wrapped__` is the same in Python."},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_dealloc, Log_dealloc},
    {Py_tp_traverse, Log_traverse},
    {Py_tp_clear, Log_clear},
    {Py_tp_methods, Log_methods},
    {Py_tp_members, Log_members},
    {Py_tp_getset, Log_getset},
    {0, NULL},
};
static PyType_Spec Log_spec = {
    "steno.journal._native.Log", sizeof(Log), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE |
        Py_TPFLAGS_DISALLOW_INSTANTIATION,
    Log_slots,
};

static PyObject *made(Core *core, vectorcallfunc call, PyObject *twin, PyObject *scope) {
    PyTypeObject *type = core->state->log_type;
    Log *self = type == NULL ? NULL : (Log *)type->tp_alloc(type, 0);
    if (self == NULL)
        return type == NULL ? PyErr_Format(PyExc_ReferenceError, "the module is gone") : NULL;
    self->call = call;
    self->core = (Core *)Py_NewRef((PyObject *)core);
    self->twin = Py_NewRef(twin);
    self->scope = Py_XNewRef(scope);
    return (PyObject *)self;
}

static PyObject *Core_log(Core *self, PyObject *twin) { return made(self, log_call, twin, NULL); }

static PyObject *Core_add(Core *self, PyObject *const *args, Py_ssize_t count) {
    if (count == 2)
        return made(self, add_call, args[0], args[1] == Py_None ? NULL : args[1]);
    PyErr_SetString(PyExc_TypeError, "add(twin, scope)");
    return NULL;
}

static PyMethodDef Core_methods[] = {
    {"next", (PyCFunction)Core_next, METH_NOARGS, "Take the next number."},
    {"use", (PyCFunction)(void (*)(void))Core_use, METH_FASTCALL, "use(token, write, nonce): whether it will write there."},
    {"learn", (PyCFunction)(void (*)(void))Core_learn, METH_FASTCALL, "learn(token, scope, keys, number)"},
    {"log", (PyCFunction)Core_log, METH_O, "A `log` before this one."},
    {"add", (PyCFunction)(void (*)(void))Core_add, METH_FASTCALL, "add(twin, scope): an `add` before this one."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef Core_getset[] = {
    {"last", (getter)Core_last, NULL, "The number that was given last.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot Core_slots[] = {
    {Py_tp_doc, "What the calls of one recorder share."},
    {Py_tp_new, Core_new},
    {Py_tp_dealloc, Core_dealloc},
    {Py_tp_traverse, Core_traverse},
    {Py_tp_clear, Core_clear},
    {Py_tp_methods, Core_methods},
    {Py_tp_getset, Core_getset},
    {0, NULL},
};
static PyType_Spec Core_spec = {
    "steno.journal._native.Core", sizeof(Core), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, Core_slots,
};

/* -- the module ------------------------------------------------------------------------------------------------ */

/* examine(type, code, [(scalar, its Python twin), ...]): whether scalars of this type are encoded here from now on. */
static PyObject *examine(PyObject *module, PyObject *args) {
    State *state = PyModule_GetState(module);
    PyTypeObject *type;
    PyObject *pairs;
    int code;
    if (!PyArg_ParseTuple(args, "O!CO!", &PyType_Type, &type, &code, &PyTuple_Type, &pairs))
        return NULL;
    for (int at = 0; at < state->kinds; at++)
        if (state->kind[at].type == type)
            return PyBool_FromLong(state->kind[at].code == (char)code);
    Py_ssize_t size = size_of((char)code);
    if (state->kinds == KINDS || size == 0 || PyTuple_GET_SIZE(pairs) == 0 || type->tp_itemsize != 0 ||
        type->tp_basicsize < (Py_ssize_t)sizeof(PyObject) + size)
        Py_RETURN_FALSE;
    /* Entered behind the end that calls look up to, until it has passed. */
    State trial = {.kinds = 1, .kind = {{type, (char)code}}};
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(pairs); at++) {
        PyObject *scalar, *twin;
        uint8_t ours[VALUE_BYTES], theirs[VALUE_BYTES], *end, *wanted;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(pairs, at), "OO", &scalar, &twin))
            return NULL;
        if (Py_TYPE(scalar) != type)
            Py_RETURN_FALSE;
        end = put_scalar(ours, scalar, &trial);
        wanted = put_value(theirs, twin, &trial);
        if (wanted == NULL && PyLong_CheckExact(twin)) {
            unsigned long long number = PyLong_AsUnsignedLongLong(twin);
            if (PyErr_Occurred())
                return NULL;
            wanted = put_whole(theirs, number);
        }
        if (end == NULL || wanted == NULL || end - ours != wanted - theirs || memcmp(ours, theirs, (size_t)(end - ours)))
            Py_RETURN_FALSE;
    }
    state->kind[state->kinds] = (Kind){(PyTypeObject *)Py_NewRef((PyObject *)type), (char)code};
    state->kinds++;
    Py_RETURN_TRUE;
}

/* explain(function): the `__call__` of a Log as whoever looks for it finds it; calls go on as they do. torch.compile
 * does not look into a function of Python that says so, and says why. */
static PyObject *explain(PyObject *module, PyObject *function) {
    PyTypeObject *type = ((State *)PyModule_GetState(module))->log_type;
    if (PyDict_SetItemString(type->tp_dict, "__call__", function) < 0)
        return NULL;
    PyType_Modified(type);
    Py_RETURN_NONE;
}

static PyObject *checked(PyObject *args, Checksum by) {
    Py_buffer buffer;
    unsigned int seed;
    if (!PyArg_ParseTuple(args, "y*I", &buffer, &seed))
        return NULL;
    uint32_t crc = by(buffer.buf, (size_t)buffer.len, seed);
    PyBuffer_Release(&buffer);
    return PyLong_FromUnsignedLong(crc);
}

static PyObject *crc32c(PyObject *Py_UNUSED(module), PyObject *args) { return checked(args, checksum); }

static PyObject *crc32c_by_table(PyObject *Py_UNUSED(module), PyObject *args) { return checked(args, crc_by_table); }

static PyMethodDef methods[] = {
    {"examine", examine, METH_VARARGS, "examine(type, code, pairs): whether such scalars are encoded here."},
    {"explain", explain, METH_O, "explain(function): what is found as the `__call__` of a Log."},
    {"crc32c", crc32c, METH_VARARGS, "crc32c(bytes, seed), as frames are checked."},
    {"crc32c_by_table", crc32c_by_table, METH_VARARGS, "The same where the processor has no instruction for it."},
    {NULL, NULL, 0, NULL},
};

static int traverse(PyObject *module, visitproc visit, void *arg) {
    State *state = PyModule_GetState(module);
    Py_VISIT(state->map_type);
    Py_VISIT(state->core_type);
    Py_VISIT(state->log_type);
    for (int at = 0; at < state->kinds; at++)
        Py_VISIT(state->kind[at].type);
    return 0;
}

static int clear(PyObject *module) {
    State *state = PyModule_GetState(module);
    int kinds = state->kinds;
    state->kinds = 0;
    for (int at = 0; at < kinds; at++)
        Py_CLEAR(state->kind[at].type);
    Py_CLEAR(state->map_type);
    Py_CLEAR(state->core_type);
    Py_CLEAR(state->log_type);
    Py_CLEAR(state->word_step);
    return 0;
}

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **place) {
    *place = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *place == NULL ? -1 : PyModule_AddType(module, *place);
}

static int execute(PyObject *module) {
    static int is_ready;
    State *state = PyModule_GetState(module);
    if (!is_ready) {
        make_table();
        if (processor_has_crc())
            checksum = crc_by_processor;
        if (pthread_atfork(NULL, NULL, in_child) != 0) {
            PyErr_SetString(PyExc_OSError, "pthread_atfork");
            return -1;
        }
        is_ready = 1;
    }
    here = getpid();
    state->word_step = PyUnicode_InternFromString("step");
    if (state->word_step == NULL || add_type(module, &Map_spec, &state->map_type) < 0 ||
        add_type(module, &Core_spec, &state->core_type) < 0 || add_type(module, &Log_spec, &state->log_type) < 0 ||
        PyModule_AddStringConstant(module, "CHECKSUM", checksum == crc_by_table ? "table" : "processor") < 0)
        return -1;
    return PyModule_AddIntConstant(module, "API", API);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "The hot path in C; see the head of _native.c.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
