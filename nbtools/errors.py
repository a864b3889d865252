"""Every error a user of nbtools can cause, as one tree.

::

    NbtoolsError
    ├── InputError (ValueError)      what was passed in does not fit; nothing was changed
    │   ├── PromptError              empty, too long, or not text and not token ids
    │   ├── HookError                an unknown or inert hook point, layer or head
    │   ├── ArrayError               a wrong shape, a wrong length, or NaN where a number is needed
    │   └── OptionError (TypeError)  a keyword that the function does not have
    ├── ModelError (RuntimeError)    the model cannot be used as it is
    │   └── UnknownModelError        no such name, or no such folder
    ├── SweepError (RuntimeError)    a sweep could not be finished; `partial` holds what was done
    ├── DataError (OSError)          a file is missing, damaged, or cannot be written
    │   ├── FetchError               the network or the disk did not allow a download
    │   └── ChecksumError            a file is not the one that was published
    ├── lessons.ClaimError (AssertionError)   a verdict disagrees with its test
    └── lessons.CheckError (AssertionError)   a wrong answer, where NBTOOLS_CHECKS=raise

Each message says what was expected, what came, and what to do next.
"""


class NbtoolsError(Exception):
    """Base of all errors raised on purpose by nbtools."""


class InputError(NbtoolsError, ValueError):
    """An argument does not fit; nothing was changed."""


class PromptError(InputError):
    """A prompt is empty, too long for the model, or neither text nor token ids."""


class HookError(InputError):
    """A hook point, layer or head does not exist, or does nothing on this architecture."""


class ArrayError(InputError):
    """An array has the wrong shape or length, or holds NaN where a number is needed."""


class OptionError(InputError, TypeError):
    """A keyword is not one of the function's options."""


class ModelError(NbtoolsError, RuntimeError):
    """The model cannot be used in the state it is in."""


class UnknownModelError(ModelError):
    """No model of that name or folder could be found."""


class SweepError(NbtoolsError, RuntimeError):
    """A sweep could not be finished.

    Attributes
    ----------
    partial
        What was done before, as a labelled array; NaN where nothing was.
    """

    def __init__(self, message: str, *, partial: object = None) -> None:
        super().__init__(message)
        self.partial = partial


class DataError(NbtoolsError, OSError):
    """A file is missing, damaged, or cannot be written."""


class FetchError(DataError):
    """A download did not finish; what was received is kept and will be resumed."""


class ChecksumError(DataError):
    """A file's contents are not those that were published."""
