"""One run of a command into one file: settled before the work, kept while it is done, finished by the same command."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

from cyclopts import Parameter

from jaxinv.cli.options import COMMAND_LINE, GROUPS

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
class Alone:
    """How long work is done by one process: what every command that does some takes."""

    overwrite: Annotated[bool, _switch("replace files that exist")] = False
    restart: Annotated[bool, _switch("discard an unfinished run instead of resuming it")] = False
    quiet: Annotated[bool, _switch("no progress bar, no summary")] = False

    @property
    def say(self) -> Say:
        """Tells the user, or nobody."""
        return _silent if self.quiet else print


@Parameter(name="*", group=GROUPS["running"])
@dataclasses.dataclass(frozen=True)
class Running(Alone):
    """How a run is done, which several processes can share."""

    workers: Annotated[int | None, Parameter(help="share the work among so many processes (Dask)")] = None
    scheduler: Annotated[str | None, Parameter(help="or among the workers of a Dask scheduler, tcp://HOST:8786")] = None

    @property
    def team(self) -> Workers | None:
        """Who does the work; `None`: this process."""
        if self.workers is None and self.scheduler is None:
            return None
        from jaxinv.compute.workers import Workers

        return Workers(self.workers or 0, self.scheduler)


AS_USUAL = Running()


def _silent(text: str) -> None:
    """Says nothing."""


class Kind(NamedTuple):
    """A kind of result that commands make.

    Attributes:
        read: from a file.
        write: to a file, `write(path, result, overwrite=...)`.
        draw: its picture.
    """

    read: Callable[[Path], Any]
    write: Callable[..., object]
    draw: Callable[[Any], Any]


def products() -> Kind:
    """Results on a map."""
    from jaxinv import io, plot

    return Kind(io.read_product, io.write_product, plot.quicklook)


def status_line(product: Any) -> str:
    """How many pixels ended with each status."""
    count = {name.replace("_", " "): n for name, n in product.count().items() if n}
    return f"status      {', '.join(f'{n} {name}' for name, n in count.items())}"


class Job:
    """The output of a run, and the store beside it, `OUT.partial`, until the output is whole.

    Args:
        output: where the result goes; a name that ends in `.zarr`: the store itself.
        depends: all that the result depends on, by name.
        running: how it is done.
        picture: where a picture of the result goes.
        kept: where the store goes in the end, if it is wanted.
    """

    def __init__(
        self,
        output: Path,
        depends: Mapping[str, str],
        running: Running,
        *,
        picture: Path | None = None,
        kept: Path | None = None,
    ) -> None:
        self.output, self.depends, self.picture = output, dict(depends), picture
        self.kept = output if is_zarr(output) else kept
        self._running, self._overwrite, self._say = running, running.overwrite, running.say
        self.partial = output.with_name(output.name + ".partial")
        self._store: Any = None

    @property
    def identity(self) -> str:
        """`depends` in one word, which a result keeps in its provenance as `run`."""
        return hashlib.sha256(json.dumps(self.depends, sort_keys=True).encode()).hexdigest()

    def do(
        self,
        plan: Callable[[], Run[Result]],
        kind: Kind,
        *,
        origin: Mapping[str, str],
        summary: Callable[[Result], Iterable[str]] = lambda result: (),
        objects: str = "pixels",
        beside: Callable[[Run[Result]], object] = lambda run: None,
    ) -> Result | None:
        """All that is left to do: plan, work, files, and what the user is told.

        Args:
            plan: makes the run ready, and says what it found on the way.
            kind: of the result.
            origin: what the result's provenance says beside what it says already.
            summary: what there is to say of the result, a line each.
            objects: what the run is over.
            beside: writes what goes with the output, before it, so that a finished output has all that belongs to it.

        Returns:
            The result with all of its provenance; `None`: it was there already.

        Raises:
            OutputError: something else is in the way.
            KeyboardInterrupt: the user has stopped it; says what is kept.
            StoreError: the store is that of another run.
        """
        from jaxinv import __version__

        if self.is_finished():
            if self.picture is not None and not self.picture.exists():
                _draw(kind, lambda: kind.read(self.output), self.picture)
            return None
        self.begin(self.picture)
        begin = time.perf_counter()
        run = plan()
        result: Any = self.carry_out(run, objects)
        seconds = time.perf_counter() - begin
        beside(run)
        made = {"version": __version__, **result.provenance, **origin}
        made |= {"command": COMMAND_LINE.get(), "run": self.identity}
        result = dataclasses.replace(result, provenance=made)
        if self.kept is not None:
            self._store.describe(product=result.info())
        if self.kept != self.output:
            kind.write(self.output, result, overwrite=self._overwrite)
        written = [self.output]
        if self.picture is not None and _draw(kind, lambda: result, self.picture):
            written.append(self.picture)
        if self.kept not in (None, self.output):
            written.append(self.kept)
        for line in summary(result):
            self._say(line)
        each = f"{_brief(seconds / self._store.n)} per {_one_of(objects)}"
        self._say(f"time        {seconds:.1f} s, {each}, compilation included")
        self._say(f"wrote       {' and '.join(map(str, written))}")
        self.finish()
        return result

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

    def check(self, *others: Path | None) -> None:
        """Refuse, before the work, files and folders beside the output that would be lost.

        Raises:
            OutputError: one exists, and neither may be replaced nor is what this run wrote before it was cut.
        """
        from jaxinv import io
        from jaxinv.compute.store import attributes_of

        ours = attributes_of(self.partial).get("depends") == self.depends
        for path in others:
            if path is not None and path.is_dir() and not (self._overwrite or ours):
                raise io.OutputError(f"{path} exists already: choose another name or pass --overwrite")
            if path is not None and not path.is_dir():
                io.check_writable(path, overwrite=self._overwrite or ours)

    def begin(self, *others: Path | None) -> None:
        """Refuse, before the work, what could not be written in the end.

        Args:
            others: files that go with the output.

        Raises:
            OutputError: one exists, and may not be replaced; or the place of the store holds something else.
        """
        from jaxinv import io
        from jaxinv.compute.store import is_store

        self.check(*others)
        if self.kept is not None and self.kept.exists():
            if not is_store(self.kept):
                raise io.OutputError(f"{self.kept} is no store of a run: it is left alone; choose another name")
            if not self._overwrite:
                raise io.OutputError(f"{self.kept} exists already: choose another name or pass --overwrite")

    def carry_out(self, run: Run[Result], objects: str = "pixels") -> Result:
        """Do what is left of a run.

        Args:
            run: what there is to do.
            objects: what they are called.

        Raises:
            KeyboardInterrupt: the user has stopped it; says what is kept.
            StoreError: the store is that of another run.
        """
        from jaxinv import io

        if self._running.restart:
            io.discard_folder(self.partial)
        self._store = store = run.store(self.partial, self.depends)
        if store.n_done:
            self._say(f"resuming    {store.n_done} of {store.n} {objects} are done already")
        try:
            return run.into(store, workers=self._running.team, progress=not self._running.quiet)
        except KeyboardInterrupt:
            kept = f": {store.n_done} of {store.n} {objects} are kept in {self.partial}"
            store.close()  # whoever goes on may do so from this very process
            raise KeyboardInterrupt(kept + "; the same command goes on from there") from None
        except Exception:
            if not store.n_done:  # nothing that anybody could go on with
                store.discard()
            store.close()
            raise

    def finish(self) -> None:
        """The output is written: the store goes where it is wanted, or goes."""
        from jaxinv import io

        if self.kept is None:
            self._store.discard()
            return
        self._store.close()
        io.discard_folder(self.kept)
        shutil.move(self.partial, self.kept)


def _draw(kind: Kind, result: Callable[[], Any], path: Path) -> bool:
    """Draw and write a picture; what goes wrong with it is a note, since the result is whole."""
    from jaxinv import plot

    try:
        plot.save(kind.draw(result()), path)
    except Exception as error:  # whatever a drawing library does with an odd header or a full disk
        why = " ".join(f"{error}".split()) or type(error).__name__
        warnings.warn(f"no picture was made ({why:.200}); the result is whole", stacklevel=2)
        return False
    return True


def _one_of(objects: str) -> str:
    """The singular of what a run is over."""
    return objects.removesuffix("es" if objects.endswith("ches") else "s")


def _brief(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds > 0.1 else f"{1e3 * seconds:.2g} ms"
