// The one place where the C library is imported: every other module says `import Linux`.
@_exported import CShims
@_exported import Glibc

/// open(2) flag of the GNU feature set, which Swift's Glibc module leaves out; the same on all our architectures.
package let O_PATH: Int32 = 0o10000000
