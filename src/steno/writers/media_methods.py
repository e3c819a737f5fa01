"""The `add_*` of pictures, videos, audio, texts, tensors and meshes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.writers import values
from steno.writers.base import WriterBase

if TYPE_CHECKING:
    from collections.abc import Mapping


class MediaMethods(WriterBase):
    """Media: each is checked and copied at the call, and encoded by the collector."""

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Record a picture.

        Args:
            tag: see `add_scalar`.
            img_tensor: uint8, integers in 0..255, bool, or floats in [0, 1]; 1 to 4 channels; or a PIL image. What
                is out of range is clipped and NaN drawn black, which is said once per tag.
            global_step, walltime: see `add_scalar`.
            dataformats: the array's axes: "CHW", "HWC", "HW".

        Raises:
            UsageError: wrong shape or dtype, or empty; nothing was recorded.
        """
        self._put("image", tag, values.image(img_tensor, dataformats), global_step, walltime)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Record several pictures as a grid: an array with a leading axis "N", or a list ("CHW" or "HWC").

        Args:
            tag, global_step, walltime: see `add_scalar`.
            img_tensor: values as for `add_image`.
            dataformats: the axes of an array: "NCHW", "NHWC", "NHW".

        Raises:
            UsageError: wrong shape or dtype, or empty; nothing was recorded.
        """
        self._put("image", tag, values.image(img_tensor, dataformats), global_step, walltime)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: Any = "CHW",
        labels: Any = None,
        *torch_labels: Any,
        rescale: Any = 1,
        **kwargs: Any,  # noqa: ARG002 - accepted, as there
    ) -> None:
        """Record a picture with boxes drawn in: shape (n, 4) of x0, y0, x1, y1 in pixels, and n labels or none.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            img_tensor, dataformats: see `add_image`.
            box_tensor: further columns are not looked at, and boxes may end before they begin.
            labels: left out when they are not as many as the boxes.
            torch_labels: with torch's order behind the time: rescale, dataformats, labels.
            rescale: the picture's sides are made so many times as long; needs pillow.
            kwargs: accepted for compatibility, ignored.

        Raises:
            UsageError: wrong shape or dtype; nothing was recorded.
        """
        if not isinstance(dataformats, str):
            rescale, dataformats = dataformats, "CHW" if labels is None else labels
            labels = torch_labels[0] if torch_labels else None
        made = values.image(img_tensor, dataformats, box_tensor, labels, rescale)
        self._put("image", tag, made, global_step, walltime)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: int | None = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Record a matplotlib figure, or a list of them as a grid; drawn here, about 50 ms, and then closed.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            figure: a figure, or a list of them.
            close: whether matplotlib may forget the figure.

        Raises:
            UsageError: no figure; nothing was recorded.
        """
        values.tag(tag)
        self._put("image", tag, values.figure(figure, close), global_step, walltime)

    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        global_step: int | None = None,
        fps: float = 4,
        walltime: float | None = None,
        dataformats: str = "NTCHW",
    ) -> None:
        """Record a film, shown as a GIF: uint8, or floats in [0, 1], else clipped; several side by side.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            vid_tensor: shape (N, T, C, H, W), C of 1, 3 or 4.
            fps: frames per second.
            dataformats: the array's axes.

        Raises:
            UsageError: wrong shape or dtype, or empty; nothing was recorded.
        """
        self._put("video", tag, values.video(vid_tensor, fps, dataformats), global_step, walltime)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: int | None = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Record a sound: (frames,) or (frames, channels), floats in [-1, 1], else clipped, or integer samples.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            snd_tensor: the samples.
            sample_rate: in Hz.

        Raises:
            UsageError: wrong shape or dtype, or empty; nothing was recorded.
        """
        self._put("audio", tag, values.audio(snd_tensor, sample_rate), global_step, walltime)

    def add_text(
        self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """Record Markdown; TensorBoard shows it under `tag/text_summary`.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            text_string: the text.

        Raises:
            UsageError: no str; nothing was recorded.
        """
        self._put("text", tag, values.text(text_string), global_step, walltime, suffix="/text_summary")

    def add_tensor(self, tag: str, tensor: Any, global_step: int | None = None, walltime: float | None = None) -> None:
        """Record a tensor as it is, of any shape and dtype: `steno.open(logdir).media(tag)` gives it back.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            tensor: an array or tensor; it is copied here.

        Raises:
            UsageError: no tensor of numbers; nothing was recorded.
        """
        self._put("tensor", tag, values.tensor(tensor), global_step, walltime)

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Mapping[str, Any] | None = None,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Record meshes or point clouds: vertices and colors (batch, n, 3), faces (batch, m, 3).

        Args:
            tag, global_step, walltime: see `add_scalar`.
            vertices: float coordinates x, y, z.
            colors: integers in 0..255, one color per vertex; None: one color.
            faces: numbers of three vertices each; None: a cloud of points.
            config_dict: three.js options of TensorBoard's scene.

        Raises:
            UsageError: wrong shape or dtype, or empty; nothing was recorded.
        """
        self._put("mesh", tag, values.mesh(vertices, colors, faces, config_dict), global_step, walltime)
