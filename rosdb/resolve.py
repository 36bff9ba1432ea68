"""Revisions: from what people type to the run that it names."""

from rosdb import refs
from rosdb.errors import IdAmbiguous, RefMissing
from rosdb.index import Index
from rosdb.objects import ObjectId


def resolve(index: Index, revision: str) -> ObjectId:
    """Return the run that a revision names: a hash, a prefix, a name, ``@``, ``@~2``, ``ID@``.

    Raises: RefMissing, IdAmbiguous.
    """
    if not revision.isprintable():
        raise RefMissing(ascii(revision))
    wanted = refs.parse_revision(revision)
    found: ObjectId | None = None
    if isinstance(wanted, refs.Newest):
        found = index.newest(wanted.experiment, wanted.back)
    else:
        # A name is exact, so it goes before a prefix; no name looks like one (check_run_name).
        found = index.ref(refs.NAMES + wanted.name)
        if found is None and wanted.prefix is not None:
            matches = index.runs_with_prefix(wanted.prefix, limit=50)
            if len(matches) > 1:
                raise IdAmbiguous(revision, [str(m) for m in matches])
            found = matches[0] if matches else None
    if found is None:
        raise RefMissing(revision)
    return found
