"""Programs by name, and why one can not be started. Standard library only: keepers use it."""

import os


class NotStarted(Exception):
    """The attempt has no process; the text is one sentence for its owner."""

    def __init__(self, code: int, cause: str, text: str) -> None:
        super().__init__(text)
        self.code, self.cause = code, cause


class Programs:
    """Where programs are, remembered within one batch."""

    def __init__(self) -> None:
        self._paths: dict[tuple[str, str], str] = {}

    def forget(self) -> None:
        self._paths.clear()

    def find(self, name: str, path: str) -> str:
        """The program's path; execvp's rule, with the task's own PATH. Raises NotStarted."""
        if "/" in name:
            return name
        known = self._paths.get((name, path))
        if known is None:
            for folder in path.split(":"):
                known = os.path.join(folder, name)
                if os.access(known, os.X_OK) and not os.path.isdir(known):
                    break
            else:
                raise NotStarted(127, "no-program", f"there is no program {name} on this executor (PATH is {path})")
            self._paths[name, path] = known
        return known


def unstartable(name: str, error: OSError) -> NotStarted:
    if isinstance(error, FileNotFoundError):
        text = f"there is no program {name} on this executor, or the interpreter it names is missing"
        return NotStarted(127, "no-program", text)
    return NotStarted(126, "no-program", f"the program {name} can't be started: {error.strerror}")
