"""One run of a command into one file: settled before the work, kept while it is done, finished by the same command."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import Parameter

from jaxinv.cli.options import GROUPS

if TYPE_CHECKING:
    from jaxinv.compute.run import Run
    from jaxinv.compute.workers import Workers

Result = TypeVar("Result")
Say = Callable[[str], object]


def is_zarr(path: Path) -> bool:
    """Whether an output is a Zarr store, by its name."""
    return path.suffix.lower() == ".zarr"


def _switch(text: str) -> Any:
    return Parameter(help=text, negative="", show_default=False)


@Parameter(name="*", group=GROUPS["running"])
@dataclasses.dataclass(frozen=True)
class Running:
    """How a run is done: what every command that does one takes."""

    workers: Annotated[int | None, Parameter(help="share the work among so many processes (Dask)")] = None
    scheduler: Annotated[str | None, Parameter(help="or among the workers of a Dask scheduler, tcp://HOST:8786")] = None
    overwrite: Annotated[bool, _switch("replace files that exist")] = False
    restart: Annotated[bool, _switch("discard an unfinished run instead of resuming it")] = False
    quiet: Annotated[bool, _switch("no progress bar, no summary")] = False

    @property
    def say(self) -> Say:
        """Tells the user, or nobody."""
        return silent if self.quiet else print

    def how(self) -> dict[str, Any]:
        """What `Job` takes of it."""
        workers = None
        if self.workers is not None or self.scheduler is not None:
            from jaxinv.compute.workers import Workers

            workers = Workers(self.workers or 0, self.scheduler)
        return {"restart": self.restart, "overwrite": self.overwrite, "workers": workers, "say": self.say}


AS_USUAL = Running()


def silent(text: str) -> None:
    """Says nothing."""


class Job:
    """The output of a run, and the store beside it, `OUT.partial`, until the output is whole.

    Args:
        output: where the result goes; a name that ends in `.zarr`: the store itself.
        depends: all that the result depends on, by name.
        kept: where the store goes in the end, if it is wanted.
        restart: discard what an earlier run left.
        overwrite: files that exist may be replaced.
        workers: who does the work.
        say: told what the user should know.
    """

    def __init__(
        self,
        output: Path,
        depends: Mapping[str, str],
        *,
        kept: Path | None = None,
        restart: bool = False,
        overwrite: bool = False,
        workers: Workers | None = None,
        say: Say = print,
    ) -> None:
        self.output, self.depends = output, dict(depends)
        self.kept = output if is_zarr(output) else kept
        self._restart, self._overwrite, self._workers, self._say = restart, overwrite, workers, say
        self.partial = output.with_name(output.name + ".partial")
        self._store: Any = None

    @property
    def identity(self) -> str:
        """`depends` in one word, which a result keeps in its provenance as `run`."""
        return hashlib.sha256(json.dumps(self.depends, sort_keys=True).encode()).hexdigest()

    def is_finished(self) -> bool:
        """Whether the output is the result of this very run already; what a killed one left is put in order then.

        Raises:
            OutputError: it is something else, and may not be replaced; or the store that is wanted is gone.
        """
        from jaxinv import io
        from jaxinv.compute.store import attributes_of

        if self._overwrite or not self.output.exists():
            return False
        if self.kept == self.output:
            if attributes_of(self.output).get("depends") != self.depends:
                return False
        else:
            try:
                found = io.provenance_of(self.output).get("run")
            except (io.InputError, OSError):
                found = None
            if found != self.identity:
                io.check_writable(self.output, overwrite=False)
        if self.kept is not None and not self.kept.exists():
            if attributes_of(self.partial).get("depends") != self.depends:
                raise io.OutputError(f"{self.output} is finished, but {self.kept} is gone: pass --overwrite")
            shutil.move(self.partial, self.kept)
        io.discard_folder(self.partial)
        self._say(f"{self.output} holds the result of this command already (--overwrite makes it anew)")
        return True

    def begin(self, *others: Path | None) -> None:
        """Refuse, before the work, what could not be written in the end.

        Args:
            others: files that go with the output.

        Raises:
            OutputError: one exists, and may not be replaced; or the place of the store holds something else.
        """
        from jaxinv import io
        from jaxinv.compute.store import attributes_of, is_store

        ours = attributes_of(self.partial).get("depends") == self.depends
        for path in others:
            if path is not None:
                io.check_writable(path, overwrite=self._overwrite or ours)
        if self.kept is not None and self.kept.exists():
            if not is_store(self.kept):
                raise io.OutputError(f"{self.kept} is no store of a run: it is left alone; choose another name")
            if not self._overwrite:
                raise io.OutputError(f"{self.kept} exists already: choose another name or pass --overwrite")

    def carry_out(self, run: Run[Result], objects: str = "pixels", *, progress: bool = True) -> Result:
        """Do what is left of a run.

        Args:
            run: what there is to do.
            objects: what they are called.
            progress: show a bar.

        Raises:
            KeyboardInterrupt: the user has stopped it; says what is kept.
            StoreError: the store is that of another run.
        """
        from jaxinv import io

        if self._restart:
            io.discard_folder(self.partial)
        self._store = store = run.store(self.partial, self.depends)
        if store.n_done:
            self._say(f"resuming    {store.n_done} of {store.n} {objects} are done already")
        try:
            return run.into(store, workers=self._workers, progress=progress)
        except KeyboardInterrupt:
            kept = f": {store.n_done} of {store.n} {objects} are kept in {self.partial}"
            raise KeyboardInterrupt(kept + "; the same command goes on from there") from None
        except Exception:
            if not store.n_done:  # nothing that anybody could go on with
                store.discard()
            raise

    def publish(self, product: Result, **origin: str) -> Result:
        """Write a product to the output.

        Args:
            product: what came of the run.
            origin: what its provenance says beside what it says already.

        Returns:
            The product with all of its provenance.
        """
        from jaxinv import io

        made: Any = product
        made = dataclasses.replace(made, provenance={**made.provenance, **origin, "run": self.identity})
        if self.kept is not None:
            self._store.describe(product=made.info())
        if self.kept != self.output:
            io.write_product(self.output, made, overwrite=self._overwrite)
        return made

    def finish(self) -> None:
        """The output is written: the store goes where it is wanted, or goes."""
        from jaxinv import io

        if self.kept is None:
            self._store.discard()
            return
        self._store.close()
        io.discard_folder(self.kept)
        shutil.move(self.partial, self.kept)
