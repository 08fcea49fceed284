.set LEVELS, 4
.include "paging64.S"
