"""One member of a bundle as a plain, self-contained network: for runtimes without condition ids, at plain speed.

`write_members` makes the files, compares each with the golden samples, and only then publishes them.
"""

from hnexport.member.formats import MemberFormat
from hnexport.member.make import MemberOptions, MembersFailedError, WrittenMembers, write_members

__all__ = ["MemberFormat", "MemberOptions", "MembersFailedError", "WrittenMembers", "write_members"]
