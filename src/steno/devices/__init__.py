"""One file per framework; found by the value's type, nothing imported first."""
