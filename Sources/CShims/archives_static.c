// What the static binary leaves out of SQLite and zstd.
//
// Debian's SQLite has everything compiled in: full text search (three times), R-trees, JSON, statistics as tables, and the
// functions of trigonometry, for which the C library has tables of 250 KB. Its zstd reads the formats of 2015 and 2016,
// before the one that RFC 8878 describes, which is that of images. The linker takes a member of an archive only for a symbol
// that nobody has defined: here they are. The store's statements use none of it; a database that did would be told "no such
// module" or "no such function".
//
// Only the Makefile's build of the product, which links the archives, defines K3S_STATIC_LINK.
#ifdef K3S_STATIC_LINK
#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

// Registrations with a connection, 0 is SQLITE_OK (sqlite3.c, "sqlite3BuiltinExtensions").
#define NO_MODULE(name) \
    int sqlite3##name(void *database) { return (void)database, 0; }
NO_MODULE(DbstatRegister) NO_MODULE(Fts3Init) NO_MODULE(Fts5Init) NO_MODULE(RtreeInit) NO_MODULE(StmtVtabInit)
#if SQLITE_VERSION_NUMBER < 3045000 // Later ones refer to more of JSON.
NO_MODULE(JsonTableFunctions)
void sqlite3RegisterJsonFunctions(void) {}
#endif

// Nobody but SQLite's SQL functions refers to these; whoever does so later shall notice at once.
#pragma clang diagnostic ignored "-Wincompatible-library-redeclaration"
#define NO_FUNCTION(name) \
    double name(double a) { return (void)a, __builtin_trap(), 0; }
NO_FUNCTION(acos) NO_FUNCTION(asin) NO_FUNCTION(atan) NO_FUNCTION(cos) NO_FUNCTION(sin) NO_FUNCTION(tan)
NO_FUNCTION(acosh) NO_FUNCTION(asinh) NO_FUNCTION(atanh) NO_FUNCTION(cosh) NO_FUNCTION(sinh) NO_FUNCTION(tanh)
double atan2(double a, double b) { return (void)a, (void)b, __builtin_trap(), 0; }

// zstd's older formats (lib/legacy): (size_t)-1 is its general error.
#define NO_FORMAT(version)                                                                                             \
    void *ZSTDv##version##_createDCtx(void) { return NULL; }                                                           \
    size_t ZSTDv##version##_freeDCtx(void *context) { return (void)context, (size_t)0; }                               \
    size_t ZSTDv##version##_decompress_usingDict(                                                                      \
        void *context, void *to, size_t room, const void *from, size_t size, const void *dictionary, size_t length) { \
        return (void)context, (void)to, (void)room, (void)from, (void)size, (void)dictionary, (void)length,            \
               (size_t)-1;                                                                                             \
    }                                                                                                                  \
    void ZSTDv##version##_findFrameSizeInfoLegacy(                                                                     \
        const void *from, size_t size, size_t *compressed, unsigned long long *bound) {                                \
        (void)from, (void)size, *compressed = (size_t)-1, *bound = (unsigned long long)-2;                             \
    }                                                                                                                  \
    size_t ZSTDv##version##_getFrameParams(void *parameters, const void *from, size_t size) {                          \
        return (void)parameters, (void)from, (void)size, (size_t)-1;                                                   \
    }                                                                                                                  \
    void *ZBUFFv##version##_createDCtx(void) { return NULL; }                                                          \
    size_t ZBUFFv##version##_freeDCtx(void *context) { return (void)context, (size_t)0; }                              \
    size_t ZBUFFv##version##_decompressInitDictionary(void *context, const void *dictionary, size_t length) {          \
        return (void)context, (void)dictionary, (void)length, (size_t)-1;                                              \
    }                                                                                                                  \
    size_t ZBUFFv##version##_decompressContinue(                                                                       \
        void *context, void *to, size_t *room, const void *from, size_t *size) {                                       \
        return (void)context, (void)to, (void)from, *room = 0, *size = 0, (size_t)-1;                                  \
    }
NO_FORMAT(05) NO_FORMAT(06) NO_FORMAT(07)
#endif
